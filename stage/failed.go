package stage

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"time"

	digest "github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/internal/bootid"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/network"
	"github.com/builder-oci/builder/rootless/sandbox"
	"github.com/builder-oci/builder/stage/sshagent"
	"github.com/builder-oci/builder/storage/cache"
	"github.com/builder-oci/builder/storage/snapshot"
)

// Failed is the error of a command that ran and failed. Its tree is in the
// store, as the command left it: it stays there if Failure is recorded.
type Failed struct {
	// Failure lacks what the stage doesn't know: the build's and the stage's
	// names, and the place.
	Failure *cache.Failure
	// Lost, where set, is why the tree isn't kept; Failure is nil then.
	Lost error

	err error
}

func (f *Failed) Error() string { return f.err.Error() }

// Unwrap gives how the command failed.
func (f *Failed) Unwrap() error { return f.err }

// failedVersion is that of failedRun's form.
const failedVersion = 1

// failedRun is what a command saw, as a Failure keeps it. No secret is in it:
// of those only where they came from.
type failedRun struct {
	// Spec is the sandbox's, less its mounts, its network and the proxies.
	Spec sandbox.Spec `json:"spec"`
	// Withheld are the build arguments that aren't in Spec.Env, since they may be
	// secrets.
	Withheld []string                   `json:"withheld,omitempty"`
	Shell    []string                   `json:"shell,omitempty"`
	Script   *Script                    `json:"script,omitempty"`
	AddHosts []string                   `json:"addHosts,omitempty"`
	DNS      network.DNS                `json:"dns,omitzero"`
	Mounts   []keptMount                `json:"mounts,omitempty"`
	Secrets  map[string]Secret          `json:"secrets,omitempty"`
	SSH      map[string]sshagent.Access `json:"ssh,omitempty"`
}

// keptMount is a mount, and what it showed.
type keptMount struct {
	Type  string          `json:"type"`
	Mount json.RawMessage `json:"mount"`
	Shows *keptSource     `json:"shows,omitempty"`
}

// keptSource is what a mount showed: of a tree of the store, "" for scratch, or
// of a context, which is gone where it was fetched.
type keptSource struct {
	Tree    snapshot.Key  `json:"tree,omitempty"`
	Context *Origin       `json:"context,omitempty"`
	Fetched bool          `json:"fetched,omitempty"`
	Path    string        `json:"path"`
	Content digest.Digest `json:"content,omitempty"`
}

// Origin is where a build context can be opened again.
type Origin struct {
	Dir        string `json:"dir"`
	Dockerfile string `json:"dockerfile,omitempty"` // whose ignore file counts
	IgnoreFile string `json:"ignoreFile,omitempty"` // which goes before it
	GitModes   bool   `json:"gitModes,omitempty"`
}

// lasting is Files that may still be there after the build. Its Origin is nil
// where they won't.
type lasting interface{ Origin() *Origin }

// keep commits the tree of a command that failed, and gives the error that
// tells of it. Whatever is in the way of keeping takes nothing from cause.
func (in Run) keep(r *Runner, st *State, active *snapshot.Active, spec sandbox.Spec, shows []*shown, result snapshot.Key, cause error) error {
	f, err := in.failure(r, st, spec, shows, result, cause)
	if err == nil {
		err = r.Snapshots.HasRoom()
	}
	if err == nil {
		err = active.Commit(result)
	}
	if err != nil {
		return &Failed{Lost: err, err: cause}
	}
	return &Failed{Failure: f, err: cause}
}

func (in Run) failure(r *Runner, st *State, spec sandbox.Spec, shows []*shown, result snapshot.Key, cause error) (*cache.Failure, error) {
	boot, err := bootid.Get()
	if err != nil {
		return nil, err
	}
	run := failedRun{
		Spec: spec, Shell: st.Config.Config.Shell, Script: in.Script,
		AddHosts: r.Settings.AddHosts, DNS: r.Settings.DNS,
	}
	run.Spec.RootFS, run.Spec.StateDir, run.Spec.NetNS = "", "", ""
	run.Spec.Mounts, run.Spec.ResolvConf, run.Spec.Hosts = nil, nil, nil
	home, _ := lookupEnv(spec.Env, "HOME")
	run.Spec.Env, run.Withheld = st.openEnv(home)
	f := &cache.Failure{
		Key: result, Before: st.Tree, Version: failedVersion, Instruction: in.Instruction,
		ExitCode: fault.Code(cause), Cause: cause.Error(), Failed: time.Now().UTC(),
		Root: r.Snapshots.Root(), Boot: boot,
	}
	for i, m := range in.Mounts {
		kept, err := keepMount(m, shows[i])
		if err != nil {
			return nil, err
		}
		if kept.Shows != nil && kept.Shows.Tree != "" {
			f.Needs = append(f.Needs, kept.Shows.Tree)
		}
		run.Mounts = append(run.Mounts, kept)
	}
	if err := run.keepSources(in.Mounts, r.Settings); err != nil {
		return nil, err
	}
	f.Run, err = json.Marshal(run)
	return f, err
}

// openEnv is the environment less the build arguments that may be secrets,
// whose names it gives.
func (st *State) openEnv(home string) (env, withheld []string) {
	for _, kv := range homeEnv(st.Env(), home) {
		name, value, _ := strings.Cut(kv, "=")
		if st.fromArg(name) && secretLike(name, value) {
			withheld = append(withheld, name)
		} else {
			env = append(env, kv)
		}
	}
	return env, withheld
}

func keepMount(m Mount, s *shown) (keptMount, error) {
	kept := keptMount{Type: kindOf(m)}
	var err error
	if kept.Mount, err = json.Marshal(m); err != nil || s == nil {
		return kept, err
	}
	kept.Shows = &keptSource{Path: s.path, Content: s.content}
	if s.source != nil {
		// What the path led to was found in this very tree.
		kept.Shows.Tree, kept.Shows.Path = s.source.Tree, s.match.Path
		return kept, nil
	}
	if files, ok := s.files.(lasting); ok {
		kept.Shows.Context = files.Origin()
	}
	kept.Shows.Fetched = kept.Shows.Context == nil
	return kept, nil
}

// keepSources notes where the secrets come from that the mounts show, with
// absolute paths.
func (run *failedRun) keepSources(mounts []Mount, s Settings) error {
	run.Secrets, run.SSH = map[string]Secret{}, map[string]sshagent.Access{}
	for _, m := range mounts {
		switch m := m.(type) {
		case SecretMount:
			secret, given := s.Secrets[m.ID]
			if !given {
				continue
			}
			var err error
			if secret.File, err = absolute(secret.File); err != nil {
				return err
			}
			run.Secrets[m.ID] = secret
		case SSHMount:
			access, given := s.SSH[m.ID]
			if !given {
				continue
			}
			kept := sshagent.Access{Socket: access.Socket}
			for _, key := range access.Keys {
				path, err := absolute(key)
				if err != nil {
					return err
				}
				kept.Keys = append(kept.Keys, path)
			}
			run.SSH[m.ID] = kept
		}
	}
	return nil
}

func absolute(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	return filepath.Abs(path)
}

// kindOf names a mount's type as --mount does; those of a volume and of a
// device are their own.
func kindOf(m Mount) string {
	switch m.(type) {
	case BindMount:
		return "bind"
	case CacheMount:
		return "cache"
	case TmpfsMount:
		return "tmpfs"
	case SecretMount:
		return "secret"
	case SSHMount:
		return "ssh"
	case HostDevice:
		return "device"
	}
	return "volume"
}

// open gives the mount again. from is what it read, nil for nothing.
func (k keptMount) open(from Source) (Mount, error) {
	switch k.Type {
	case "bind":
		m, err := decoded[BindMount](k.Mount)
		m.From = from
		return m, err
	case "cache":
		m, err := decoded[CacheMount](k.Mount)
		m.From = from
		return m, err
	case "tmpfs":
		return decoded[TmpfsMount](k.Mount)
	case "secret":
		return decoded[SecretMount](k.Mount)
	case "ssh":
		return decoded[SSHMount](k.Mount)
	case "volume":
		return decoded[HostMount](k.Mount)
	case "device":
		return decoded[HostDevice](k.Mount)
	}
	return nil, fmt.Errorf("a mount of type %q isn't known", k.Type)
}

func decoded[M Mount](text json.RawMessage) (m M, err error) {
	err = json.Unmarshal(text, &m)
	return m, err
}
