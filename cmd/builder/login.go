package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"

	"github.com/urfave/cli/v2"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/storage/transport"
)

// loginFlags are those of login and logout alike.
func loginFlags() []cli.Flag {
	return []cli.Flag{
		&cli.StringFlag{Name: "authfile", Usage: "keep logins in `FILE`"},
		&cli.BoolFlag{Name: "tls-verify", Usage: "ask registries off this host to prove themselves by TLS"},
	}
}

func loginCommand() *cli.Command {
	return &cli.Command{
		Name:      "login",
		Category:  categoryMore,
		Usage:     "Log in to a registry",
		ArgsUsage: "[SERVER]",
		Flags: append([]cli.Flag{
			&cli.StringFlag{Name: "username", Aliases: []string{"u"}, Usage: "`NAME` of the user"},
			&cli.StringFlag{Name: "password", Aliases: []string{"p"}, Usage: "`PASSWORD`, which others can read here: better not"},
			&cli.BoolFlag{Name: "password-stdin", Usage: "read the password from the standard input"},
			&cli.BoolFlag{Name: "get-login", Usage: "print the user's name that a login has, and do no more"},
			&cli.BoolFlag{Name: "verbose", Aliases: []string{"v"}, Hidden: true, Usage: "tell where the login is kept"},
		}, loginFlags()...),
		Action: coded(login),
	}
}

func logoutCommand() *cli.Command {
	return &cli.Command{
		Name:      "logout",
		Category:  categoryMore,
		Usage:     "Log out from a registry",
		ArgsUsage: "[SERVER]",
		Flags: append([]cli.Flag{
			&cli.BoolFlag{Name: "all", Aliases: []string{"a"}, Usage: "log out from all registries"},
		}, loginFlags()...),
		Action: coded(logout),
	}
}

// credsEnv has what --creds says, for the process in the namespace: its environment
// can be read by the user alone, its arguments by everybody.
const credsEnv = "_BUILDER_CREDS"

// hideCreds gives the arguments of this process for another one, with the value of
// --creds in the environment instead.
func hideCreds(c *cli.Context, args, env []string) (shown, with []string) {
	creds := c.String("creds")
	if hidden := os.Getenv(credsEnv); creds == "" || hidden != "" {
		return args, env
	}
	const mask = "********"
	shown = slices.Clone(args)
	for i, arg := range args {
		name, value, joined := strings.Cut(strings.TrimLeft(arg, "-"), "=")
		if name != "creds" || name == arg {
			continue
		}
		switch {
		case joined && value == creds:
			shown[i] = "--creds=" + mask
		case !joined && i+1 < len(args) && args[i+1] == creds:
			shown[i+1] = mask
		default:
			continue
		}
		return shown, append(slices.Clone(env), credsEnv+"="+creds)
	}
	return args, env
}

// serverArgument gives the registry that the command line names.
func serverArgument(c *cli.Context) (string, error) {
	if c.NArg() > 1 {
		return "", usageError(c.Command.HelpName, "%s takes at most one registry", c.Command.HelpName)
	}
	return transport.Server(c.Args().First())
}

// login checks credentials with the registry, and keeps them.
func login(c *cli.Context) error {
	server, err := serverArgument(c)
	if err != nil {
		return err
	}
	o := registryOptions(c)
	if c.Bool("get-login") {
		return printLogin(c, server, o)
	}
	l := &loggingIn{Context: c, server: server, options: o, user: c.String("username"), password: c.String("password")}
	if err := l.readFlags(); err != nil {
		return err
	}
	done, err := l.again()
	if err == nil && !done {
		err = l.anew()
	}
	if err != nil {
		return err
	}
	_, err = fmt.Fprintln(c.App.Writer, "Login Succeeded")
	return err
}

// printLogin prints the name that --get-login asks for.
func printLogin(c *cli.Context, server string, o transport.Options) error {
	user, _, err := transport.Login(server, o)
	if err == nil && user == "" {
		err = fault.New("builder login "+server, "not logged in to %s", server)
	}
	if err == nil {
		_, err = fmt.Fprintln(c.App.Writer, user)
	}
	return err
}

// loggingIn is one login to a registry.
type loggingIn struct {
	*cli.Context
	server         string
	options        transport.Options
	user, password string
}

// readFlags settles where the password comes from.
func (l *loggingIn) readFlags() error {
	if l.IsSet("password") {
		tell(l.App.ErrWriter, fault.New("", "WARNING! Using --password via the CLI is insecure. Use --password-stdin."))
	}
	if !l.Bool("password-stdin") {
		return nil
	}
	switch {
	case l.IsSet("password"):
		return usageError(l.Command.HelpName, "--password and --password-stdin are mutually exclusive")
	case l.user == "":
		return usageError(l.Command.HelpName, "Must provide --username with --password-stdin")
	}
	const longest = 1 << 20
	text, err := io.ReadAll(io.LimitReader(os.Stdin, longest))
	if err != nil {
		return err
	}
	l.password = strings.TrimSuffix(strings.TrimSuffix(string(text), "\n"), "\r")
	if l.password == "" {
		return fault.New("echo \"$TOKEN\" | builder login --password-stdin …", "the standard input holds no password")
	}
	return nil
}

// again tries the login that is there already, where the user has given none. It
// says whether that is done with.
func (l *loggingIn) again() (bool, error) {
	if l.user != "" || l.password != "" {
		return false, nil
	}
	user, password, err := transport.Login(l.server, l.options)
	if err != nil || user == "" || password == "" {
		return false, err
	}
	if err := l.say("Authenticating with existing credentials... [Username: %s]\n"+
		"To login with a different account, run 'builder logout' followed by 'builder login'\n\n", user); err != nil {
		return false, err
	}
	err = transport.CheckLogin(l.Context.Context, l.server, user, password, l.options)
	if err == nil {
		return true, nil
	}
	if !isTerminal(os.Stdin) {
		return false, err
	}
	tell(l.App.ErrWriter, err)
	l.user = user
	return false, nil
}

// anew logs in with what the user gives, and is asked for.
func (l *loggingIn) anew() error {
	if err := l.ask(); err != nil {
		return err
	}
	if err := transport.CheckLogin(l.Context.Context, l.server, l.user, l.password, l.options); err != nil {
		return err
	}
	place, inFile, err := transport.StoreLogin(l.Context.Context, l.server, l.user, l.password, l.options)
	if err != nil {
		return err
	}
	if inFile {
		_, err = fmt.Fprintf(l.App.ErrWriter, "\nWARNING! Your credentials are stored unencrypted in '%s'.\n"+
			"Configure a credential helper to remove this warning. See\nhttps://docs.docker.com/go/credential-store/\n\n", place)
	}
	return err
}

func (l *loggingIn) say(format string, args ...any) error {
	_, err := fmt.Fprintf(l.App.Writer, format, args...)
	return err
}

// logout forgets credentials.
func logout(c *cli.Context) error {
	o := registryOptions(c)
	if c.Bool("all") {
		if c.NArg() > 0 {
			return usageError(c.Command.HelpName, "--all takes no registry")
		}
		err := transport.RemoveLogins(c.Context, o)
		if err == nil {
			_, err = fmt.Fprintln(c.App.Writer, "Removed login credentials for all registries")
		}
		return err
	}
	server, err := serverArgument(c)
	if err != nil {
		return err
	}
	if _, err := fmt.Fprintln(c.App.Writer, "Removing login credentials for", server); err != nil {
		return err
	}
	err = transport.RemoveLogin(c.Context, server, o)
	if errors.Is(err, transport.ErrNotLoggedIn) {
		err = nil // docker takes it so too
	}
	if err != nil {
		return fault.New("see the credential helper of that registry", "WARNING: could not erase credentials: %w", err)
	}
	if user, _, err := transport.Login(server, o); err == nil && user != "" {
		tell(c.App.ErrWriter, fault.New("docker logout "+c.Args().First(), "docker's own login to %s is still there, and is used: %s", server, user))
	}
	return nil
}
