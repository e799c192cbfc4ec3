package fetch

import (
	"errors"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func secrets(set map[string]string) func(string) ([]byte, bool, error) {
	return func(name string) ([]byte, bool, error) {
		value, given := set[name]
		return []byte(value), given, nil
	}
}

func TestLoginsAreOrderedAsInBuildKit(t *testing.T) {
	all := map[string]string{
		"GIT_AUTH_HEADER.h": "own header", "GIT_AUTH_TOKEN.h": "own", "GIT_AUTH_HEADER": "header\n", "GIT_AUTH_TOKEN": "token\n",
	}
	for _, test := range []struct{ without, want string }{
		{"", "own header"},
		{"GIT_AUTH_HEADER.h", "Basic eC1hY2Nlc3MtdG9rZW46b3du"},
		{"GIT_AUTH_TOKEN.h", "header"},
		{"GIT_AUTH_HEADER", "Basic eC1hY2Nlc3MtdG9rZW46dG9rZW4="},
		{"GIT_AUTH_TOKEN", ""},
	} {
		delete(all, test.without)
		if got, err := (Access{Secret: secrets(all)}).login("h"); err != nil || got != test.want {
			t.Errorf("without %s: %q, %v, want %q", test.without, got, err, test.want)
		}
	}
}

func TestLoginsGoToTheirAddressAlone(t *testing.T) {
	t.Setenv("GIT_CONFIG_COUNT", "1")
	a := Access{Secret: secrets(map[string]string{"GIT_AUTH_HEADER": "header"})}
	for remote, want := range map[string]string{
		"https://h/a/r.git":          "http.https://h/a/r.git.extraHeader",
		"https://github.com/o/r.git": "http.https://github.com/.extraHeader",
		"https://u:p@h/a/r.git":      "http.https://h/.extraHeader",
	} {
		for _, asUser := range []bool{false, true} {
			a.AsUser = asUser
			g, err := newGit(remote, a)
			if err != nil {
				t.Fatal(err)
			}
			env, err := g.environment()
			if err != nil {
				t.Fatal(err)
			}
			key := "GIT_CONFIG_KEY_0=" + want
			if asUser { // behind what the user has set
				key = "GIT_CONFIG_KEY_1=" + want
			}
			if !slices.Contains(env, key) || !hasLogin(env) {
				t.Errorf("%s: %q is not in %q", remote, key, env)
			}
			if strings.Contains(g.remote, "@") {
				t.Errorf("%s has still its login", g.remote)
			}
		}
	}
}

func TestOnlyAddressesOfTheUserSeeTheEnvironment(t *testing.T) {
	t.Setenv("GIT_DIR", "/elsewhere")
	t.Setenv("SOMETHING", "else")
	for _, asUser := range []bool{false, true} {
		g, err := newGit("https://h/r.git", Access{AsUser: asUser})
		if err != nil {
			t.Fatal(err)
		}
		env, err := g.environment()
		if err != nil {
			t.Fatal(err)
		}
		if slices.Contains(env, "SOMETHING=else") != asUser || slices.Contains(env, "GIT_DIR=/elsewhere") {
			t.Errorf("as the user %t: %q", asUser, env)
		}
	}
}

func TestSSHHasTheBuildsKeysAlone(t *testing.T) {
	t.Setenv("HOME", "/home/it's")
	g, err := newGit("git@h:r.git", Access{SSH: &Keys{Files: []string{"/a b"}}})
	if err != nil {
		t.Fatal(err)
	}
	env, err := g.environment()
	if err != nil {
		t.Fatal(err)
	}
	i := slices.IndexFunc(env, func(kv string) bool { return strings.HasPrefix(kv, "GIT_SSH_COMMAND=") })
	if i < 0 {
		t.Fatal(env)
	}
	out, err := exec.Command("sh", "-c", "printf '%s\\n' "+strings.TrimPrefix(env[i], "GIT_SSH_COMMAND=")).Output()
	if err != nil {
		t.Fatal(err)
	}
	for _, want := range []string{`IdentityFile="/a b"`, "IdentitiesOnly=yes", "StrictHostKeyChecking=yes", `UserKnownHostsFile="/home/it's/.ssh/known_hosts"`} {
		if !slices.Contains(strings.Split(string(out), "\n"), want) {
			t.Errorf("%q is not in %q", want, out)
		}
	}
}

func TestWhatGitSaysIsMadeOneCause(t *testing.T) {
	failed := errors.New("exit status 128")
	for _, test := range []struct {
		said   string
		login  bool
		words  string
		remedy string
	}{
		{"", false, "exit status 128", "git ls-remote ssh://git@h:2222/r"},
		{"error: odd\n", false, "git: odd", "git ls-remote"},
		{"noise\nfatal: one\nfatal: two\n", false, "git: one", "git ls-remote"},
		{"fatal: could not read Username for 'https://h': terminal prompts disabled", false, "the server asks for a login", "GIT_AUTH_TOKEN"},
		{"fatal: Authentication failed for 'https://h/'", true, "the server doesn't accept the login", "GIT_AUTH_TOKEN"},
		{"Host key verification failed.\r\nfatal: Could not read from remote repository.", false, "ssh: Host key verification failed", "ssh-keyscan -p 2222 h >> ~/.ssh/known_hosts"},
		{"git@h: Permission denied (publickey).\r\nfatal: Could not read", false, "ssh: git@h: Permission denied (publickey)", "ssh-add -l"},
	} {
		g := git{remote: "ssh://git@h:2222/r"}
		if got := words(test.said, test.login, failed).Error(); got != test.words {
			t.Errorf("%q: %q, want %q", test.said, got, test.words)
		}
		if got := g.remedy(test.said); !strings.Contains(got, test.remedy) {
			t.Errorf("%q: %q lacks %q", test.said, got, test.remedy)
		}
	}
	if got := (git{remote: "git@h:o/r.git"}).sshHost(); got != "h" {
		t.Error(got)
	}
}

func TestMessagesHaveNoLogins(t *testing.T) {
	for address, want := range map[string]string{
		"https://u:p@h/r.git#v1": "https://xxxxx:xxxxx@h/r.git#v1", "https://token@h/f": "https://xxxxx@h/f",
		"ssh://git@h/r": "ssh://git@h/r", "git@h:r.git": "git@h:r.git", "https://h/f?a=b": "https://h/f?a=b",
	} {
		if got := Redacted(address); got != want {
			t.Errorf("%s: %s, want %s", address, got, want)
		}
	}
}
