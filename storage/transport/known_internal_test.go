package transport

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"

	"github.com/opencontainers/go-digest"
)

func TestKnownRepositoriesComeLastFirst(t *testing.T) {
	k := known{t.TempDir()}
	d := digest.FromString("layer")
	for _, name := range []string{"a", "b", "c", "target", "d", "a"} {
		if err := k.add("reg:5000", "reg:5000/"+name, []digest.Digest{d, d}); err != nil {
			t.Fatal(err)
		}
	}
	got := strings.Join(k.repositories("reg:5000", "reg:5000/target")[d], " ")
	if want := "reg:5000/d reg:5000/c reg:5000/b"; got != want {
		t.Errorf("%s, want %s", got, want)
	}
	if other := k.repositories("other", "other/target"); len(other) != 0 {
		t.Errorf("another registry's: %v", other)
	}
	if err := (known{}).add("reg", "reg/a", []digest.Digest{d}); err != nil {
		t.Error(err)
	}
}

func TestKnownStaysSmallAndReadable(t *testing.T) {
	k := known{t.TempDir()}
	if err := os.WriteFile(k.file("reg"), []byte("\nrubbish\n"+strings.Repeat("x", 99)+"\n"+strings.Repeat("0", 64)+"\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	var all []digest.Digest
	for i := range 13000 {
		all = append(all, digest.FromString(fmt.Sprint(i)))
	}
	var writers sync.WaitGroup
	for i := range 4 {
		writers.Go(func() {
			if err := k.add("reg", fmt.Sprintf("reg/app%d", i), all[i*3000:(i+1)*3000]); err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	st, err := os.Stat(k.file("reg"))
	if err != nil || st.Size() >= largestKnown {
		t.Errorf("%v, %v", st, err)
	}
	if err := k.add("reg", "reg/last", all[12999:]); err != nil {
		t.Fatal(err)
	}
	if got := k.repositories("reg", "reg/target")[all[12999]]; len(got) != 1 || got[0] != "reg/last" {
		t.Errorf("found %v", got)
	}
}

func TestServerTakesWhatUsersWrite(t *testing.T) {
	for text, want := range map[string]string{
		"": "docker.io", "docker.io": "docker.io", "https://index.docker.io/v1/": "docker.io", "registry-1.docker.io": "docker.io",
		"quay.io": "quay.io", "https://quay.io/": "quay.io", "http://localhost:5000/v2/": "localhost:5000",
		"quay.io/team": "quay.io/team", "quay.io/team/": "quay.io/team", "[::1]:5000": "[::1]:5000",
	} {
		if got, err := Server(text); err != nil || got != want {
			t.Errorf("%q: %q, %v; want %q", text, got, err, want)
		}
	}
	for _, text := range []string{"/", "https://", "user@host", "a b", "quay.io/team:tag"} {
		if got, err := Server(text); err == nil {
			t.Errorf("%q: %q", text, got)
		}
	}
}
