package main

import (
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/builder-oci/builder/stage"
	"github.com/builder-oci/builder/stage/sshagent"
)

func TestSecretFlag(t *testing.T) {
	t.Chdir(t.TempDir())
	t.Setenv("TOKEN", "x")
	for _, name := range []string{"file", "a,b", "TOKEN.txt"} {
		if err := os.WriteFile(name, []byte("s"), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile("large", make([]byte, stage.MaxSecret+1), 0o600); err != nil {
		t.Fatal(err)
	}
	for text, want := range map[string]stage.Secret{
		"id=a,src=file":              {File: "file"},
		"type=file,id=a,source=file": {File: "file"},
		`id=a,"src=a,b"`:             {File: "a,b"},
		"id=a,env=TOKEN":             {Env: "TOKEN"},
		"id=a,type=env,env=TOKEN":    {Env: "TOKEN"},
		"id=a,type=env,src=TOKEN":    {Env: "TOKEN"},
		"id=TOKEN":                   {Env: "TOKEN"},
		"id=TOKEN,type=env":          {Env: "TOKEN"},
		"id=file":                    {File: "file"},
		"id=TOKEN.txt,type=file":     {File: "TOKEN.txt"},
	} {
		id, got, err := parseSecret(text)
		if err != nil || got != want || id == "" {
			t.Errorf("%s: %s %+v, %v", text, id, got, err)
		}
	}
	for text, want := range map[string]string{
		"src=file": "no id", "id=a,src": "no value", "id=a,type=pipe": "neither file nor env", "id=a,what=x": "none of id",
		"id=a,src=file,env=TOKEN": "both", "id=a,env=GONE": "isn't set", "id=gone": "there is no file gone",
		"id=a,src=.": "no plain file", "id=a,src=large": "larger", `id=a,"x`: "can't be read", "id=a,type=file,env=TOKEN": "a file has no env",
	} {
		if _, _, err := parseSecret(text); err == nil || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), text) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
}

func TestSSHFlag(t *testing.T) {
	dir := t.TempDir()
	socket, key := filepath.Join(dir, "s"), filepath.Join(dir, "key")
	l, err := net.Listen("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	if err := os.WriteFile(key, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	t.Setenv(authSockEnv, socket)
	for text, want := range map[string]sshagent.Access{
		"default": {Socket: socket}, "x=": {Socket: socket}, "x=" + socket: {Socket: socket},
		"x=" + key: {Keys: []string{key}}, "x=" + key + "," + key: {Keys: []string{key, key}},
	} {
		_, got, err := parseSSH(text)
		if err != nil || got.Socket != want.Socket || !slices.Equal(got.Keys, want.Keys) {
			t.Errorf("%s: %+v, %v", text, got, err)
		}
	}
	for text, want := range map[string]string{
		"=" + key: "no id", "x=" + key + "," + socket: "no plain file", "x=" + dir: "no plain file", "x=" + key + "no": "no such file",
	} {
		if _, _, err := parseSSH(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %s", text, err, want)
		}
	}
	o, err := readBud(dir, "--ssh", "a="+key, "--ssh=b="+key+","+key, "--secret", "id=k,src="+key)
	if err != nil || len(o.SSH) != 2 || len(o.SSH["b"].Keys) != 2 || o.Secrets["k"].File != key {
		t.Errorf("%+v %+v, %v", o.SSH, o.Secrets, err)
	}
}
