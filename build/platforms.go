package build

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/builder-oci/builder/build/dockerfile"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/platform"
	"github.com/builder-oci/builder/stage"
	"github.com/builder-oci/builder/storage/layout"
)

// wanted is an image as the Dockerfile names it, and the platform that it is to
// be for.
type wanted struct{ name, platform string }

// isHere says that an image for this machine is wanted.
func (w wanted) isHere() bool { return w.platform == platform.Name(platform.Here()) }

// baseOf is the base image of a stage.
func baseOf(s *dockerfile.Stage) wanted { return wanted{s.Base, platform.Name(s.Platform)} }

// fromElsewhere is an image that COPY --from or a mount names: as in BuildKit it
// is wanted for what the image is built for, whatever its stage's platform is.
func (b *build) fromElsewhere(name string) wanted {
	return wanted{name, platform.Name(b.file.Platform)}
}

// present gives the image from the store. It is ErrPlatform where what has the
// name is for another platform; but an image that there is for one only will do
// where this machine's is wanted: BuildKit takes it too, and the linter tells.
func (w wanted) present(l *layout.Layout) (layout.Image, error) {
	want, err := platform.Parse(w.platform)
	if err != nil {
		return layout.Image{}, err
	}
	img, err := l.FindFor(byName(w.name), want)
	if errors.Is(err, layout.ErrPlatform) && w.isHere() && img.Index == nil {
		err = nil
	}
	if err == nil {
		_, err = l.Config(img)
	}
	return img, err
}

// storedImage gives an image of the store, where the right one has to be pulled
// into it first.
func (b *build) storedImage(ctx context.Context, w wanted, coming func()) (layout.Image, error) {
	l := b.env.Store.Layout()
	var other *layout.Image
	if !b.o.Pull {
		img, err := w.present(l)
		switch {
		case err == nil:
			return img, nil
		case errors.Is(err, layout.ErrPlatform):
			other = &img
		case !errors.Is(err, layout.ErrUnknown) && !errors.Is(err, layout.ErrAbsent):
			return img, err
		}
	}
	if other != nil && !named(*other, w.name) {
		return *other, b.isForAnother(w, *other, errors.New("what is named by its id can't be fetched"))
	}
	if b.o.NeverPull {
		return layout.Image{}, b.perhapsStage(w, fault.New("leave --pull=never out, or fetch it first: builder pull --platform "+w.platform+" "+w.name,
			"the store has no %s for %s, and --pull=never asks no registry", w.name, w.platform))
	}
	if b.env.Pull == nil {
		return layout.Image{}, ErrNamespace
	}
	img, err := b.env.Pull(ctx, w.name, w.asked(), coming)
	if err != nil && other != nil && ctx.Err() == nil {
		err = b.isForAnother(w, *other, err)
	}
	return img, b.perhapsStage(w, err)
}

// perhapsStage adds to the error for an image that a stage may be meant.
func (b *build) perhapsStage(w wanted, err error) error {
	if err == nil {
		return nil
	}
	if meant := b.file.StageMeant(w.name); meant != "" {
		return fault.New(strings.TrimSuffix(meant+"\n"+fault.Remedy(err), "\n"), "%w", err)
	}
	return err
}

// asked is what a registry or an OCI layout is asked for, and has to have; ""
// for this machine's platform, if it has that.
func (w wanted) asked() string {
	if w.isHere() {
		return ""
	}
	return w.platform
}

// named says whether an image was found by its name rather than by its id.
func named(img layout.Image, ref string) bool {
	name, err := layout.ParseName(ref)
	return err == nil && (img.Name == name || strings.Contains(name, "@"))
}

// isForAnother is the error for an image that the store has for another platform
// only.
func (b *build) isForAnother(w wanted, other layout.Image, why error) error {
	have := "another platform"
	if config, err := b.env.Store.Layout().Config(other); err == nil {
		have = platform.Name(config.Platform())
	}
	remedy := fmt.Sprintf("build %s for %s first, or build for what there is: --platform %s", w.name, w.platform, have)
	if more := fault.Remedy(why); more != "" {
		remedy += "\n" + more
	}
	return fault.New(remedy, "the store has %s for %s, and for %s it can't be had: %w", w.name, have, w.platform, why)
}

// checkPlatform refuses a base that is for another platform, where the file or
// the user has named the one that is wanted.
func checkPlatform(s *dockerfile.Stage, base *stage.State) error {
	if s.AnyPlatform {
		return nil // the linter tells
	}
	return baseOf(s).mismatch(base)
}

// checkSource is checkPlatform for an image that files are taken from, where the
// linter is silent.
func (b *build) checkSource(w wanted, st *stage.State) error {
	err := w.mismatch(st)
	if err == nil || !b.file.AnyPlatform {
		return err
	}
	if _, told := b.told.LoadOrStore(w, true); !told {
		b.report(Notice{Err: err})
	}
	return nil
}

// mismatch is the error for an image that isn't for the wanted platform.
func (w wanted) mismatch(st *stage.State) error {
	got := st.Config.Platform()
	want, err := platform.Parse(w.platform)
	if err != nil || got.Architecture == "" || platform.Serves(got, want) {
		return err
	}
	return fault.New(fmt.Sprintf("fetch the right one, if there is one: builder pull --platform %s %s", w.platform, w.name),
		"%s is for %s, not for %s", w.name, platform.Name(got), w.platform)
}

// settlePlatform says what the image is for: what the user has named, else what
// the target's base is.
func (b *build) settlePlatform(config *layout.ImageConfig) {
	p := config.Platform()
	if want := b.file.Platform; !b.file.AnyPlatform {
		same := want.OS == p.OS && want.Architecture == p.Architecture
		if want.Variant != "" || !same {
			p.Variant = want.Variant
		}
		if !same {
			config.OSVersion, config.OSFeatures = "", nil
		}
		p.OS, p.Architecture = want.OS, want.Architecture
	}
	if p.OS == "" || p.Architecture == "" {
		return
	}
	p = platform.Normalize(p)
	config.OS, config.Architecture, config.Variant = p.OS, p.Architecture, p.Variant
}
