package fetch

import (
	"context"
	"strings"
	"testing"
)

const (
	sha1 = "1111111111111111111111111111111111111111"
	sha2 = "2222222222222222222222222222222222222222"
	sha3 = "3333333333333333333333333333333333333333"
)

func TestWhereANameLeads(t *testing.T) {
	lines := sha1 + "\tHEAD\n" + sha1 + "\trefs/heads/main\n" + sha2 + "\trefs/heads/v1\n" +
		sha1 + "\trefs/tags/v1\n" + sha2 + "\trefs/tags/v2\n" + sha3 + "\trefs/tags/v2^{}\n" +
		sha3 + "\trefs/pull/7/head\n" + sha2 + "\trefs/remotes/x/main\nwarning: noise\n"
	for want, expect := range map[string][3]string{
		"HEAD":             {"HEAD", sha1, sha1},
		"main":             {"refs/heads/main", sha1, sha1},
		"v1":               {"refs/heads/v1", sha2, sha2},
		"refs/tags/v1":     {"refs/tags/v1", sha1, sha1},
		"tags/v1":          {"refs/tags/v1", sha1, sha1},
		"v2":               {"refs/tags/v2", sha2, sha3},
		"refs/pull/7/head": {"refs/pull/7/head", sha3, sha3},
		"pull/7/head":      {"refs/pull/7/head", sha3, sha3},
		"x/main":           {},
		"nothing":          {},
	} {
		name, object, commit := pick(lines, want)
		if got := [3]string{name, object, commit}; got != expect {
			t.Errorf("%s: %v, want %v", want, got, expect)
		}
	}
}

func TestIdentityOfACommitNeedsNoQuestion(t *testing.T) {
	yes := true
	for _, tc := range []struct {
		address, checksum string
		keep              *bool
		want              string
	}{
		{"https://h/r.git#" + sha1, "", nil, "git " + sha1 + " /"},
		{"https://h/r.git#" + sha1 + ":a/../b/", "1111", nil, "git " + sha1 + " /b"},
		{"https://u:p@h/r.git?ref=" + sha1 + "&submodules=0", "", nil, "git " + sha1 + " / without submodules"},
		{"https://u:p@h/r.git#" + sha1, "", &yes, "git " + sha1 + " / with .git of https://h/r.git "},
	} {
		r, err := NewRepo(tc.address, RepoOptions{KeepGitDir: tc.keep, Checksum: tc.checksum})
		if err != nil {
			t.Fatal(err)
		}
		got, err := r.Identity(context.Background())
		if err != nil || got != tc.want {
			t.Errorf("%s: %q, %v, want %q", tc.address, got, err, tc.want)
		}
		if strings.Contains(r.git.remote, "u:p") {
			t.Errorf("%s: the login is where git would show it", tc.address)
		}
	}
}

func TestWhatIsNoRepository(t *testing.T) {
	no := false
	for _, tc := range []struct {
		address, checksum string
		keep              *bool
		want              string
	}{
		{"git@github.com:o/r.git", "", nil, "wasn't given"},
		{"ssh://git@h/r", "", nil, "wasn't given"},
		{"https://h/r.git?tag=a&branch=b", "", nil, "conflict"},
		{"https://h/r.git?what=a", "", nil, "unexpected query"},
		{"https://h/r.git?keep-git-dir=true", "", &no, "contradicts"},
		{"https://h/r.git?checksum=" + sha1, sha2, nil, "contradicts"},
		{"https://h/r.git", "sha256:x", nil, "is no commit"},
	} {
		if _, err := NewRepo(tc.address, RepoOptions{KeepGitDir: tc.keep, Checksum: tc.checksum}); err == nil || !strings.Contains(err.Error(), tc.want) {
			t.Errorf("%s: %v, want %q", tc.address, err, tc.want)
		}
	}
	r, err := NewRepo("https://h/r.git#"+sha1, RepoOptions{Checksum: sha2})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := r.Identity(context.Background()); err == nil {
		t.Error("another commit's checksum was taken")
	}
}
