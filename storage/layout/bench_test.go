package layout_test

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"github.com/opencontainers/go-digest"

	"github.com/builder-oci/builder/storage/layout"
)

// filled makes an index.json of n images with ten layers, of which one image
// is there: app:0.
func filled(b *testing.B, n int) *layout.Layout {
	b.Helper()
	l := newLayout(b)
	commit(b, l, []string{"app:0"}, "one", "two", "3", "4", "5", "6", "7", "8", "9", "10")
	path := filepath.Join(l.Dir(), "index.json")
	data, err := os.ReadFile(path)
	must(b, err)
	var index map[string]any
	must(b, json.Unmarshal(data, &index))
	first := index["manifests"].([]any)[0].(map[string]any)
	var all []any
	for i := range n {
		d, annotations := map[string]any{}, map[string]any{}
		for k, v := range first {
			d[k] = v
		}
		for k, v := range first["annotations"].(map[string]any) {
			annotations[k] = v
		}
		if i > 0 {
			target, id := digest.FromString(fmt.Sprint(i)), digest.FromString(fmt.Sprint("id", i))
			d["digest"] = target
			annotations["io.github.builder-oci.of"] = target.Encoded()[:12]
			annotations["io.github.builder-oci.id"] = id
			annotations["io.github.builder-oci.blobs"] = id.Encoded()[:8] + fmt.Sprintf("%080d", i)
			annotations["org.opencontainers.image.ref.name"] = fmt.Sprintf("registry.example.com/team/app:%d", i)
		}
		d["annotations"] = annotations
		all = append(all, d)
	}
	index["manifests"] = all
	data, err = json.Marshal(index)
	must(b, err)
	must(b, os.WriteFile(path, data, 0o644))
	return l
}

func BenchmarkList(b *testing.B) {
	for _, n := range []int{1000, 10000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l := filled(b, n)
			b.ReportAllocs()
			for b.Loop() {
				images, err := l.List()
				must(b, err)
				for _, img := range images {
					_ = layout.Familiar(img.Name)
				}
			}
		})
	}
}

func BenchmarkFind(b *testing.B) {
	l := filled(b, 10000)
	for b.Loop() {
		_, err := l.Find("app:0")
		must(b, err)
	}
}

func BenchmarkTagAndRemove(b *testing.B) {
	l := filled(b, 10000)
	for b.Loop() {
		must(b, l.Tag(context.Background(), "app:0", "app:new"))
		_, err := l.Remove(context.Background(), "app:new", layout.RemoveOptions{})
		must(b, err)
	}
}
