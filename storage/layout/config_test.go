package layout_test

import (
	"context"
	"encoding/json"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/opencontainers/go-digest"
	v1 "github.com/opencontainers/image-spec/specs-go/v1"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/layout"
)

func fullConfig() *layout.ImageConfig {
	created := time.Date(2024, 1, 2, 3, 4, 5, 600, time.FixedZone("", 3600))
	return &layout.ImageConfig{
		Created: &created, Author: "me", Comment: "why", OS: "linux", Architecture: "arm", Variant: "v7",
		Config: layout.RunConfig{
			User: "1:2", ExposedPorts: map[string]struct{}{"80/tcp": {}, "53/udp": {}}, Env: []string{"A=b"},
			Entrypoint: []string{"e"}, Cmd: []string{"c"}, Volumes: map[string]struct{}{"/v": {}}, WorkingDir: "/w",
			Labels: map[string]string{"z": "1", "a": "2"}, StopSignal: "SIGINT", ArgsEscaped: true,
			Healthcheck: &layout.Healthcheck{Test: []string{"CMD", "x"}, Interval: time.Second, Retries: 3},
			OnBuild:     []string{"RUN x"}, Shell: []string{"/bin/bash", "-c"},
		},
		RootFS:  v1.RootFS{DiffIDs: []digest.Digest{someDigest}},
		History: []v1.History{{Created: &created, CreatedBy: "RUN x"}, {CreatedBy: "CMD c", EmptyLayer: true}},
	}
}

func TestConfigBytesAreFixed(t *testing.T) {
	const oci = `{"created":"2024-01-02T02:04:05.0000006Z","author":"me","architecture":"arm","variant":"v7","os":"linux",` +
		`"config":{"User":"1:2","ExposedPorts":{"53/udp":{},"80/tcp":{}},"Env":["A=b"],"Entrypoint":["e"],"Cmd":["c"],` +
		`"Volumes":{"/v":{}},"WorkingDir":"/w","Labels":{"a":"2","z":"1"},"StopSignal":"SIGINT","ArgsEscaped":true,` +
		`"Healthcheck":{"Test":["CMD","x"],"Interval":1000000000,"Retries":3},"OnBuild":["RUN x"],"Shell":["/bin/bash","-c"]},` +
		`"rootfs":{"type":"layers","diff_ids":["` + someDigest + `"]},` +
		`"history":[{"created":"2024-01-02T02:04:05.0000006Z","created_by":"RUN x"},{"created_by":"CMD c","empty_layer":true}]}`
	got, err := fullConfig().Marshal(layout.FormatOCI)
	if err != nil || string(got) != oci {
		t.Errorf("OCI: %v\n%s\nwant\n%s", err, got, oci)
	}
	docker := strings.Replace(oci, `"author":"me",`, `"author":"me","comment":"why",`, 1)
	got, err = fullConfig().Marshal(layout.FormatDocker)
	if err != nil || string(got) != docker {
		t.Errorf("docker: %v\n%s\nwant\n%s", err, got, docker)
	}
	back, err := layout.ParseConfig(got)
	must(t, err)
	again, err := back.Marshal(layout.FormatDocker)
	if err != nil || string(again) != docker {
		t.Errorf("read and written: %v\n%s", err, again)
	}
}

func TestACloneSharesNothing(t *testing.T) {
	a := fullConfig()
	b := a.Clone()
	if !reflect.DeepEqual(a, b) {
		t.Fatalf("differs: %+v", b)
	}
	b.Config.Env[0], b.Config.Labels["a"], b.Config.Healthcheck.Test[0] = "X=y", "3", "NONE"
	b.Config.ExposedPorts["1/tcp"] = struct{}{}
	b.RootFS.DiffIDs[0], b.History[0].CreatedBy = "sha256:x", "other"
	*b.Created, *b.History[0].Created = time.Time{}, time.Time{}
	b.Config.Cmd[0], b.Config.Entrypoint[0], b.Config.Shell[0], b.Config.OnBuild[0] = "1", "2", "3", "4"
	b.Config.Volumes["/x"] = struct{}{}
	if !reflect.DeepEqual(a, fullConfig()) {
		t.Errorf("the original has changed: %+v", a)
	}
}

func TestStrangeConfigs(t *testing.T) {
	for text, ok := range map[string]bool{
		`{"os":"linux","architecture":"amd64","config":null,"rootfs":{"type":"layers","diff_ids":null}}`:                       true,
		`{"os":"linux","architecture":"amd64","config":{"Env":null,"Image":"x","Tty":false},"container_config":{"Cmd":["x"]}}`: true,
		`{"os":"linux","architecture":"amd64","rootfs":{"type":"layers+base"}}`:                                                false,
		`{"os":"linux","architecture":"amd64","rootfs":{"diff_ids":["foo"]}}`:                                                  false,
		`{"os":"linux","architecture":"amd64","rootfs":{"diff_ids":["sha256:../../evil"]}}`:                                    false,
		`{"os":"linux","architecture":"amd64","rootfs":{"diff_ids":["` + someDigest + `",""]}}`:                                false,
		`[]`: false,
	} {
		c, err := layout.ParseConfig([]byte(text))
		if (err == nil) != ok {
			t.Errorf("ParseConfig(%s): %v", text, err)
		}
		if err == nil {
			data, err := c.Marshal(layout.FormatOCI)
			if err != nil || !strings.Contains(string(data), `"rootfs":{"type":"layers","diff_ids":[]}`) {
				t.Errorf("written: %v %s", err, data)
			}
		}
	}
}

func TestWriteImageTurnsMediaTypes(t *testing.T) {
	tests := []struct {
		format      layout.Format
		layer, want string
	}{
		{layout.FormatOCI, v1.MediaTypeImageLayerGzip, v1.MediaTypeImageLayerGzip},
		{layout.FormatOCI, "application/vnd.docker.image.rootfs.diff.tar.gzip", v1.MediaTypeImageLayerGzip},
		{layout.FormatOCI, "application/vnd.docker.image.rootfs.diff.tar", v1.MediaTypeImageLayer},
		{layout.FormatOCI, v1.MediaTypeImageLayerZstd, v1.MediaTypeImageLayerZstd},
		{layout.FormatDocker, v1.MediaTypeImageLayerGzip, "application/vnd.docker.image.rootfs.diff.tar.gzip"},
		{layout.FormatDocker, v1.MediaTypeImageLayer, "application/vnd.docker.image.rootfs.diff.tar"},
		{layout.FormatDocker, "application/vnd.docker.image.rootfs.diff.tar.gzip", "application/vnd.docker.image.rootfs.diff.tar.gzip"},
		{layout.FormatDocker, v1.MediaTypeImageLayerZstd, ""},
	}
	for _, tt := range tests {
		l := newLayout(t)
		d, diffID := putLayer(t, l, "x")
		d.MediaType = tt.layer
		d.Annotations = map[string]string{layout.UncompressedSize: "12345"}
		cfg := &layout.ImageConfig{OS: "linux", Architecture: "amd64", RootFS: v1.RootFS{DiffIDs: []digest.Digest{diffID}}}
		manifest, id, err := layout.WriteImage(context.Background(), l, cfg, []v1.Descriptor{d}, tt.format, map[string]string{"k": "v"})
		if tt.want == "" {
			if err == nil || fault.Remedy(err) == "" {
				t.Errorf("%s in %s: %v", tt.layer, tt.format, err)
			}
			continue
		}
		must(t, err)
		must(t, l.Commit(context.Background(), []string{"app"}, manifest, nil))
		img, err := l.Find("app")
		must(t, err)
		if img.Size != 12345 || img.ID != id {
			t.Errorf("%+v", img)
		}
		data, err := l.ReadBlob(manifest.Digest)
		must(t, err)
		var m v1.Manifest
		must(t, json.Unmarshal(data, &m))
		isOCI := tt.format == layout.FormatOCI
		if m.Layers[0].MediaType != tt.want || len(m.Layers[0].Annotations) != 0 || (len(m.Annotations) == 1) != isOCI ||
			(m.MediaType == v1.MediaTypeImageManifest) != isOCI || (m.Config.MediaType == v1.MediaTypeImageConfig) != isOCI {
			t.Errorf("%s in %s: %s", tt.layer, tt.format, data)
		}
	}
}
