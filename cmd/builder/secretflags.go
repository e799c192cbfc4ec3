package main

import (
	"encoding/csv"
	"errors"
	"io/fs"
	"os"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/build"
	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/stage"
	"github.com/builder-oci/builder/stage/sshagent"
)

// authSockEnv is where an ssh agent's clients find it.
const authSockEnv = "SSH_AUTH_SOCK"

// secretFlags give what RUN --mount=type=secret and type=ssh ask for.
func secretFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringSliceFlag{Name: "secret", Usage: "what RUN --mount=type=secret shows: `id=ID`,src=FILE or ,env=NAME"},
		&cli.StringSliceFlag{Name: "ssh", Usage: "agent or keys for RUN --mount=type=ssh: `ID`[=SOCKET|KEYFILE,...]"},
	}
}

// readSecretFlags reads no secret: it only looks whether there is one.
func readSecretFlags(c *cli.Context, o *build.Options) error {
	o.Secrets, o.SSH = map[string]stage.Secret{}, map[string]sshagent.Access{}
	for _, text := range c.StringSlice("secret") {
		id, secret, err := parseSecret(text)
		if err != nil {
			return err
		}
		o.Secrets[id] = secret
	}
	for _, text := range c.StringSlice("ssh") {
		id, access, err := parseSSH(text)
		if err != nil {
			return err
		}
		o.SSH[id] = access
	}
	return nil
}

// parseSecret reads docker's form: id=ID[,src=FILE|,env=NAME][,type=file|env].
// With an id alone it is the variable of that name, else the file.
func parseSecret(text string) (id string, s stage.Secret, err error) {
	wrong := func(format string, args ...any) error {
		return fault.New("write --secret id=ID,src=FILE, or --secret id=ID,env=NAME", "--secret "+text+": "+format, args...)
	}
	fields, err := csv.NewReader(strings.NewReader(text)).Read()
	if err != nil {
		return "", s, wrong("it can't be read: %w", err)
	}
	kind, source := "", ""
	for _, field := range fields {
		key, value, given := strings.Cut(field, "=")
		if !given {
			return "", s, wrong("%q has no value", field)
		}
		switch strings.ToLower(key) {
		case "id":
			id = value
		case "type":
			kind = value
		case "source", "src":
			source = value
		case "env":
			s.Env = value
		default:
			return "", s, wrong("%q is none of id, src, env, type", key)
		}
	}
	switch {
	case id == "":
		return "", s, wrong("it has no id")
	case kind != "" && kind != "file" && kind != "env":
		return "", s, wrong("the type %q is neither file nor env", kind)
	case kind == "env" && s.Env == "":
		s.Env = source
	case kind == "file" && s.Env != "":
		return "", s, wrong("a file has no env")
	case s.Env != "" && source != "":
		return "", s, wrong("it has both a file and a variable")
	default:
		s.File = source
	}
	if s.Env == "" && s.File == "" {
		if _, set := os.LookupEnv(id); set && kind != "file" || kind == "env" {
			s.Env = id
		} else {
			s.File = id
		}
	}
	return id, s, checkSecret(text, s)
}

func checkSecret(text string, s stage.Secret) error {
	if s.Env != "" {
		if _, set := os.LookupEnv(s.Env); !set {
			return fault.New("export "+s.Env+" before", "--secret %s: the environment variable %s isn't set", text, s.Env)
		}
		return nil
	}
	st, err := os.Stat(s.File)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return fault.New("name a file by src=, or a variable by env=", "--secret %s: there is no file %s", text, s.File)
	case err != nil:
		return fault.New("", "--secret %s: %w", text, err)
	case !st.Mode().IsRegular():
		return fault.New("write it into a file of its own, readable by you alone", "--secret %s: %s is no plain file", text, s.File)
	case st.Size() > stage.MaxSecret:
		return fault.New("", "--secret %s: %s is larger than %d bytes", text, s.File, stage.MaxSecret)
	}
	return nil
}

// parseSSH reads docker's form: ID, ID=SOCKET or ID=KEYFILE[,KEYFILE]. An ID
// alone is the agent of $SSH_AUTH_SOCK.
func parseSSH(text string) (id string, s sshagent.Access, err error) {
	id, list, _ := strings.Cut(text, "=")
	if id == "" {
		return "", s, fault.New("write --ssh default, or --ssh default=KEYFILE", "--ssh %s: it has no id", text)
	}
	if list == "" {
		if s.Socket = os.Getenv(authSockEnv); s.Socket == "" {
			return "", s, fault.New("start an agent: eval $(ssh-agent) && ssh-add; or name a key: --ssh "+id+"=KEYFILE",
				"--ssh %s: %s isn't set, so no ssh agent is known", text, authSockEnv)
		}
		list = s.Socket
	}
	for _, path := range strings.Split(list, ",") {
		st, err := os.Stat(path)
		switch {
		case err != nil:
			return "", s, fault.New("name an agent's socket or a private key", "--ssh %s: %w", text, err)
		case st.Mode()&fs.ModeSocket != 0 && list == path:
			return id, sshagent.Access{Socket: path}, nil
		case !st.Mode().IsRegular():
			return "", s, fault.New("name one socket, or files", "--ssh %s: %s is no plain file", text, path)
		}
		s.Keys = append(s.Keys, path)
	}
	return id, s, nil
}
