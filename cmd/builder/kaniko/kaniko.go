// Package kaniko reads the command line of kaniko's executor. Read turns it into
// a Plan: what builder's own commands are to be called with, and which files are
// written when the image is made. Nothing is built here.
//
// Flags are kaniko's of version 1.24, and those that its forks have added since.
// Each is mapped, or has nothing to do here, which is told at the level debug, or
// is refused with the reason: see Table.
package kaniko

import (
	"fmt"
	"log/slog"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/internal/platform"
)

// A Plan is what a command line of the executor asks for.
type Plan struct {
	// Build are the flags and the build context of bud.
	Build []string
	// LogLevel is builder's for the verbosity that is asked for.
	LogLevel string
	// Stdin is a file that takes the place of bud's standard input, or "".
	Stdin string
	// Env is what the environment gets, as NAME=VALUE.
	Env []string
	// Registries are settings of single registries.
	Registries Registries

	// Destinations are the image's names.
	Destinations []string
	// Push has the image pushed to all of them, with PushFlags. Where one fails,
	// it is tried Retries times more.
	Push      bool
	PushFlags []string
	Retries   int
	// TakesImmutable lets the push of a tag pass that is there and can't change.
	TakesImmutable bool
	// Tar and Layout are paths of an archive for docker, and of the directory of
	// an OCI layout, or "".
	Tar, Layout string
	// Files get the image's digest.
	Files DigestFiles

	// Notes tell of flags that do nothing here; Warnings of those where that may
	// be noticed.
	Notes, Warnings []string
}

// Values has the values of flags by their names, as *cli.Context has.
type Values interface {
	IsSet(name string) bool
	String(name string) string
	StringSlice(name string) []string
	Bool(name string) bool
	Int(name string) int
}

// Environment gives the value of a variable, as os.LookupEnv does.
type Environment func(name string) (string, bool)

func (e Environment) get(name string) string {
	value, _ := e(name)
	return value
}

// Read makes a plan of what was given.
func Read(v Values, env Environment) (*Plan, error) {
	if err := refused(v); err != nil {
		return nil, err
	}
	p := &Plan{}
	p.withoutEffect(v)
	for _, read := range []func(Values, Environment) error{
		p.readDirectory, p.readLog, p.readBuild, p.readPacking, p.readContext, p.readRegistries, p.readResults,
	} {
		if err := read(v, env); err != nil {
			return nil, err
		}
	}
	return p, nil
}

// flag adds one to those of bud.
func (p *Plan) flag(name, value string) { p.Build = append(p.Build, "--"+name+"="+value) }

// defaultDir is where kaniko lives in its image.
const defaultDir = "/kaniko"

// readDirectory tells where logins and certificates lie, which kaniko's users
// mount below its directory.
func (p *Plan) readDirectory(v Values, env Environment) error {
	dir := defaultDir
	for _, other := range []string{env.get("KANIKO_DIR"), v.String("kaniko-dir")} {
		if other != "" && other != defaultDir {
			dir = other
		}
	}
	logins := filepath.Join(dir, ".docker")
	if _, set := env("DOCKER_CONFIG"); exists(filepath.Join(logins, "config.json")) && (!set || dir != defaultDir) {
		p.Env = append(p.Env, "DOCKER_CONFIG="+logins)
	}
	certs := filepath.Join(dir, "ssl/certs")
	if _, set := env("SSL_CERT_DIR"); !set && exists(certs) {
		p.Env = append(p.Env, "SSL_CERT_DIR=/etc/ssl/certs:/etc/pki/tls/certs:"+certs)
	}
	return nil
}

// levels are builder's for each of kaniko's verbosities.
var levels = map[string]slog.Level{
	"trace": slog.LevelDebug, "debug": slog.LevelDebug, "info": slog.LevelWarn, "warn": slog.LevelWarn,
	"error": slog.LevelError, "fatal": slog.LevelError, "panic": slog.LevelError,
}

func (p *Plan) readLog(v Values, _ Environment) error {
	level, known := levels[strings.ToLower(v.String("verbosity"))]
	if !known {
		return fault.New("it can be trace, debug, info, warn, error, fatal or panic", "--verbosity %q isn't known", v.String("verbosity"))
	}
	p.LogLevel = strings.ToLower(level.String())
	p.flag("progress", "plain")
	return oneOf(v, "log-format", "text", "color", "json")
}

func oneOf(v Values, flag string, known ...string) error {
	if slices.Contains(known, v.String(flag)) {
		return nil
	}
	return fault.New("it can be "+strings.Join(known, ", "), "--%s %q isn't known", flag, v.String(flag))
}

// readBuild reads what is built.
func (p *Plan) readBuild(v Values, env Environment) error {
	for _, arg := range v.StringSlice("build-arg") {
		if !strings.Contains(arg, "=") { // kaniko's is empty where the environment has none
			arg += "=" + env.get(arg)
		}
		p.flag("build-arg", arg)
	}
	for _, same := range []string{"label", "annotation", "secret"} {
		for _, value := range v.StringSlice(same) {
			p.flag(same, value)
		}
	}
	if targets := v.StringSlice("target"); len(targets) > 1 {
		return fault.New("run the executor once for each: what they share is built once", "--target is given %d times, and one image is built", len(targets))
	} else if len(targets) == 1 {
		p.flag("target", targets[0])
	}
	for _, name := range []string{"customPlatform", "custom-platform"} {
		if !v.IsSet(name) {
			continue
		}
		if _, err := platform.ParseLinux(v.String(name)); err != nil {
			return fault.At("--"+name, err)
		}
		p.flag("platform", v.String(name))
	}
	if v.IsSet("cache") && !v.Bool("cache") {
		p.flag("no-cache", "true")
	}
	if v.Bool("insecure-pull") || v.Bool("skip-tls-verify-pull") {
		p.flag("tls-verify", "false")
	}
	return nil
}

// readPacking reads how layers are made.
func (p *Plan) readPacking(v Values, _ Environment) error {
	if v.Bool("single-snapshot") {
		p.flag("squash", "true")
	}
	if v.Bool("reproducible") {
		p.flag("timestamp", "0")
	}
	for _, name := range []string{"snapshotMode", "snapshot-mode"} {
		if v.IsSet(name) {
			if err := oneOf(v, name, "full", "redo", "time"); err != nil {
				return err
			}
		}
	}
	if v.IsSet("compression") {
		if err := oneOf(v, "compression", "gzip", "zstd"); err != nil {
			return err
		}
		p.flag("compression", v.String("compression"))
	}
	return p.readLevel(v)
}

// readLevel reads the compression's level; without a number above 0 it is the usual one.
func (p *Plan) readLevel(v Values) error {
	level, by, most := v.Int("compression-level"), "gzip", 9
	if v.String("compression") == "zstd" {
		by, most = "zstd", 22
	}
	if level > most {
		return fault.New("", "--compression-level %d: %s has levels from 1 to %d", level, by, most)
	}
	if level > 0 {
		p.flag("compression-level", strconv.Itoa(level))
	}
	return nil
}

// readResults reads what becomes of the image.
func (p *Plan) readResults(v Values, env Environment) error {
	p.Destinations = v.StringSlice("destination")
	noPush := v.Bool("no-push")
	if text := env.get("KANIKO_NO_PUSH"); text != "" && !v.IsSet("no-push") {
		noPush, _ = strconv.ParseBool(text) // what isn't one is false to kaniko too
	}
	p.Push = !noPush
	p.Retries, p.TakesImmutable = v.Int("push-retry"), v.Bool("push-ignore-immutable-tag-errors")
	p.Tar, p.Layout = v.String("tar-path"), v.String("oci-layout-path")
	if v.IsSet("tarPath") {
		p.Tar = v.String("tarPath")
	}
	p.Files = DigestFiles{v.String("digest-file"), v.String("image-name-with-digest-file"), v.String("image-name-tag-with-digest-file"), env.get("BUILDER_OUTPUT")}
	if len(p.Destinations) == 0 {
		switch {
		case p.Push:
			return fault.New("name where the image goes, or leave it here: --no-push", "you must provide --destination, or use --no-push")
		case p.Files.Name != "" || p.Files.NameTag != "":
			return fault.New("name it by --destination; --no-push leaves it here all the same", "files with the image's name need a name: there is no --destination")
		}
	}
	if v.Bool("insecure") || v.Bool("skip-tls-verify") {
		p.PushFlags = append(p.PushFlags, "--tls-verify=false")
	}
	for _, name := range p.Destinations {
		p.flag("tag", name)
	}
	return p.Files.check()
}

// withoutEffect notes the flags that were given in vain.
func (p *Plan) withoutEffect(v Values) {
	for _, f := range Table() {
		if f.Does != NoEffect || !v.IsSet(f.Name) {
			continue
		}
		note := fmt.Sprintf("--%s does nothing here: %s", f.Name, f.Why)
		if f.Name == "ignore-path" {
			p.Warnings = append(p.Warnings, note)
			continue
		}
		p.Notes = append(p.Notes, note)
	}
}

// refused is an error for a flag that can't be followed.
func refused(v Values) error {
	for _, f := range Table() {
		if f.Does != Refused || !v.IsSet(f.Name) {
			continue
		}
		if f.Name == "credential-helpers" && slices.Equal(v.StringSlice(f.Name), []string{""}) {
			continue // none is what builder has
		}
		return fault.New(f.Remedy, "--%s: %s", f.Name, f.Why)
	}
	return nil
}
