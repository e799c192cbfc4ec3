package layout

import (
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"
)

// A Format is a family of media types.
type Format string

// The formats that images are written in.
const (
	FormatOCI    Format = "oci"
	FormatDocker Format = "docker"
)

// An ImageConfig is the config of an image in the fields that docker and OCI
// have between them. Other fields of a base image's config are not handed on,
// as BuildKit has it.
type ImageConfig struct {
	Created      *time.Time   `json:"created,omitempty"`
	Author       string       `json:"author,omitempty"`
	Comment      string       `json:"comment,omitempty"` // docker's; not written in an OCI config
	Architecture string       `json:"architecture"`
	Variant      string       `json:"variant,omitempty"`
	OS           string       `json:"os"`
	OSVersion    string       `json:"os.version,omitempty"`
	OSFeatures   []string     `json:"os.features,omitempty"`
	Config       RunConfig    `json:"config"`
	RootFS       v1.RootFS    `json:"rootfs"`
	History      []v1.History `json:"history,omitempty"`
}

// RunConfig is what a container of the image starts with. Healthcheck, OnBuild
// and Shell are docker's; they stand in OCI configs as well, as BuildKit writes
// them, because images would lose their meaning without.
type RunConfig struct {
	User         string              `json:"User,omitempty"`
	ExposedPorts map[string]struct{} `json:"ExposedPorts,omitempty"`
	Env          []string            `json:"Env,omitempty"`
	Entrypoint   []string            `json:"Entrypoint,omitempty"`
	Cmd          []string            `json:"Cmd,omitempty"`
	Volumes      map[string]struct{} `json:"Volumes,omitempty"`
	WorkingDir   string              `json:"WorkingDir,omitempty"`
	Labels       map[string]string   `json:"Labels,omitempty"`
	StopSignal   string              `json:"StopSignal,omitempty"`
	ArgsEscaped  bool                `json:"ArgsEscaped,omitempty"`
	Healthcheck  *Healthcheck        `json:"Healthcheck,omitempty"`
	OnBuild      []string            `json:"OnBuild,omitempty"`
	Shell        []string            `json:"Shell,omitempty"`
}

// Healthcheck is how docker asks a container for its health. Durations are in
// nanoseconds in JSON; zero stands for docker's default.
type Healthcheck struct {
	Test          []string      `json:"Test,omitempty"`
	Interval      time.Duration `json:"Interval,omitempty"`
	Timeout       time.Duration `json:"Timeout,omitempty"`
	StartPeriod   time.Duration `json:"StartPeriod,omitempty"`
	StartInterval time.Duration `json:"StartInterval,omitempty"`
	Retries       int           `json:"Retries,omitempty"`
}

// ParseConfig reads the config of an image in either form, or gives ErrInvalid.
// Its diffIDs are sha256 digests.
func ParseConfig(data []byte) (*ImageConfig, error) {
	var c ImageConfig
	if err := json.Unmarshal(data, &c); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if c.RootFS.Type != "" && c.RootFS.Type != "layers" {
		return nil, fmt.Errorf("%w: root file system of type %q", ErrInvalid, c.RootFS.Type)
	}
	// Trees and locks are called by chain IDs, and the first one is a diffID as
	// it stands: anything else would be a path that a stranger has chosen.
	for _, d := range c.RootFS.DiffIDs {
		if !validDigest(d) {
			return nil, fmt.Errorf("%w: diffID %q is no sha256 digest", ErrInvalid, d)
		}
	}
	return &c, nil
}

// Marshal gives the config's bytes. The same config gives the same bytes
// everywhere: times are in UTC, maps sorted.
func (c *ImageConfig) Marshal(format Format) ([]byte, error) {
	out := c.Clone()
	if out.Architecture == "" || out.OS == "" {
		return nil, errors.New("image config without architecture or os")
	}
	if format == FormatOCI {
		out.Comment = ""
	}
	out.Created = inUTC(out.Created)
	for i := range out.History {
		out.History[i].Created = inUTC(out.History[i].Created)
	}
	out.RootFS.Type = "layers"
	if out.RootFS.DiffIDs == nil {
		out.RootFS.DiffIDs = []digest.Digest{} // null is no list to strict readers
	}
	return json.Marshal(out)
}

func inUTC(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	utc := t.UTC()
	return &utc
}

// Clone gives a copy that shares nothing with c.
func (c *ImageConfig) Clone() *ImageConfig {
	out := *c
	out.Created = cloneOf(c.Created)
	out.OSFeatures = slices.Clone(c.OSFeatures)
	out.Config = c.Config.clone()
	out.RootFS.DiffIDs = slices.Clone(c.RootFS.DiffIDs)
	out.History = slices.Clone(c.History)
	for i := range out.History {
		out.History[i].Created = cloneOf(out.History[i].Created)
	}
	return &out
}

func (c RunConfig) clone() RunConfig {
	c.ExposedPorts = maps.Clone(c.ExposedPorts)
	c.Env = slices.Clone(c.Env)
	c.Entrypoint = slices.Clone(c.Entrypoint)
	c.Cmd = slices.Clone(c.Cmd)
	c.Volumes = maps.Clone(c.Volumes)
	c.Labels = maps.Clone(c.Labels)
	c.OnBuild = slices.Clone(c.OnBuild)
	c.Shell = slices.Clone(c.Shell)
	c.Healthcheck = cloneOf(c.Healthcheck)
	if c.Healthcheck != nil {
		c.Healthcheck.Test = slices.Clone(c.Healthcheck.Test)
	}
	return c
}

func cloneOf[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

// Platform is what the image runs on.
func (c *ImageConfig) Platform() v1.Platform {
	return v1.Platform{
		Architecture: c.Architecture, OS: c.OS, Variant: c.Variant,
		OSVersion: c.OSVersion, OSFeatures: slices.Clone(c.OSFeatures),
	}
}
