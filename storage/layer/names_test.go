package layer

import (
	"context"
	"io"
	"strings"
	"testing"
)

func TestReservedNamesAreRefused(t *testing.T) {
	for _, flavor := range []Flavor{Overlay, VFS} {
		s := newStack(t, flavor)
		layer := s.run(shell(t, "mkdir d; echo x > d/.wh.x"))
		_, err := Pack(context.Background(), layer, io.Discard, PackOptions{Compression: None})
		if err == nil || !strings.Contains(err.Error(), "/d/.wh.x can't be in an image") {
			t.Errorf("%s: error %v", flavor, err)
		}
	}
	for _, e := range []*Entry{file(".wh.etc", "x"), file("d/.wh..wh..opq", ""), file("d/.wh.x/y", "x"), directory(".wh."), {Path: ".wh.etc", Whiteout: true}} {
		src := Differing(Entries([]*Entry{e}), NewTree(nil))
		if e.Whiteout {
			src = Entries([]*Entry{e})
		}
		_, err := Pack(context.Background(), src, io.Discard, PackOptions{Compression: None})
		if err == nil || !strings.Contains(err.Error(), "can't be in an image") {
			t.Errorf("straight into the blob, /%s: error %v", e.Path, err)
		}
	}
	packed(t, Entries([]*Entry{file("a.wh.b", ""), file("d/x.wh.", ""), file("wh.x", "")}), TimeRule{})
}

func TestReservedNamesAreFoundBeforePacking(t *testing.T) {
	for _, flavor := range flavors {
		s := newStack(t, flavor)
		s.run(shell(t, base))
		must(t, CheckNames(t.Context(), s.layers[0], flavor))
		if flavor == Fuse {
			continue // which refuses to make them
		}
		s.run(shell(t, "mkdir -p srv/data/deep/d; echo x > srv/data/deep/d/.wh.x"))
		err := CheckNames(t.Context(), s.layers[0], flavor)
		if err == nil || !strings.Contains(err.Error(), "/srv/data/deep/d/.wh.x can't be in an image") {
			t.Errorf("%s: error %v", flavor, err)
		}
	}
}
