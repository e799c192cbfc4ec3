// Command pod runs a program as a container of a Kubernetes pod runs: with the
// mounts, capabilities, seccomp filter and hidden paths that containerd gives
// it, by runc, and no kubelet. tests/places/pod.sh calls it, as root, in mount
// and pid namespaces of its own, so that nothing is left when it dies.
//
// What the flags stand for are fields of a pod's manifest; without any, the pod
// is what a manifest gets that says nothing: uid 0, docker's capabilities and
// RuntimeDefault's filter.
package main

import (
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"strings"
)

// options are what the pod's manifest says.
type options struct {
	tree    string // tarball of the image's root file system
	builder string // the binary that stands in it as /usr/bin/builder
	cache   string

	uid, gid    uint   // runAsUser, runAsGroup
	drop        bool   // capabilities: {drop: [ALL]}
	add         list   // capabilities: {add: [...]}
	unconfined  bool   // seccompProfile: {type: Unconfined}
	noNewPrivs  bool   // allowPrivilegeEscalation: false
	hostUsers   bool   // hostUsers
	unmasked    bool   // procMount: Unmasked
	readOnly    bool   // readOnlyRootFilesystem: true
	fuse, tun   bool   // devices, as a device plugin gives them
	tmp         string // emptyDir: {medium: Memory, sizeLimit: ...} on /tmp
	memory      int64  // resources: {limits: {memory: ...}}
	emptyDirs   list   // emptyDir on the node's disk, where
	mounts      list   // hostPath or secret: SOURCE:TARGET, read-only
	env         list
	workdir     string
	network     string
	interactive bool
	command     []string
}

// list is a flag that may be given several times.
type list []string

func (l *list) String() string     { return strings.Join(*l, ",") }
func (l *list) Set(s string) error { *l = append(*l, s); return nil }

func main() {
	code, err := run(os.Args[1:])
	if err != nil {
		fmt.Fprintln(os.Stderr, "pod:", err)
		code = 1
	}
	os.Exit(code)
}

func run(args []string) (code int, err error) {
	o, err := parse(args)
	if errors.Is(err, flag.ErrHelp) {
		return 0, nil
	}
	if err != nil {
		return 2, err
	}
	b, err := makeBundle(o)
	if err != nil {
		return 0, err
	}
	defer func() { err = errors.Join(err, b.remove()) }()

	err = b.run()
	if exit := (*exec.ExitError)(nil); errors.As(err, &exit) && exit.ExitCode() > 0 {
		return exit.ExitCode(), nil
	}
	return 0, err
}

func parse(args []string) (options, error) {
	var o options
	f := flag.NewFlagSet("pod", flag.ContinueOnError)
	f.StringVar(&o.tree, "tree", "", "the image: a tarball of a root file system (`FILE`)")
	f.StringVar(&o.builder, "builder", "", "the binary to test (`FILE`)")
	f.StringVar(&o.cache, "cache", "/var/cache/builder-places", "where unpacked trees and bundles are (`DIR`)")
	f.UintVar(&o.uid, "uid", 0, "runAsUser")
	f.UintVar(&o.gid, "gid", 0, "runAsGroup, by default the number of the user")
	f.BoolVar(&o.drop, "drop", false, "capabilities: {drop: [ALL]}")
	f.Var(&o.add, "add", "capabilities: {add: [`CAP`]}; may be repeated")
	f.BoolVar(&o.unconfined, "unconfined", false, "seccompProfile: {type: Unconfined}")
	f.BoolVar(&o.noNewPrivs, "no-new-privs", false, "allowPrivilegeEscalation: false")
	f.BoolVar(&o.hostUsers, "host-users", true, "hostUsers; =false maps ids 0 to 65535 of the pod to others")
	f.BoolVar(&o.unmasked, "unmasked", false, "procMount: Unmasked")
	f.BoolVar(&o.readOnly, "read-only", false, "readOnlyRootFilesystem: true")
	f.BoolVar(&o.fuse, "fuse", false, "give it /dev/fuse, as a device plugin does")
	f.BoolVar(&o.tun, "tun", false, "give it /dev/net/tun, as a device plugin does")
	f.StringVar(&o.tmp, "tmp", "", "emptyDir in memory of this `SIZE` on /tmp, such as 4m")
	f.Int64Var(&o.memory, "memory", 0, "limit of memory, in `BYTES`")
	f.Var(&o.emptyDirs, "empty-dir", "emptyDir on the node's disk at `PATH`; may be repeated")
	f.Var(&o.mounts, "mount", "bind `SOURCE:TARGET` read-only; may be repeated")
	f.Var(&o.env, "env", "`NAME=VALUE`; may be repeated")
	f.StringVar(&o.workdir, "workdir", "/", "workingDir")
	f.StringVar(&o.network, "network", "none", "none (an interface lo) or host")
	f.BoolVar(&o.interactive, "tty", false, "give it a terminal")
	if err := f.Parse(args); err != nil {
		return o, err
	}
	groupGiven := false
	f.Visit(func(f *flag.Flag) { groupGiven = groupGiven || f.Name == "gid" })
	if !groupGiven {
		o.gid = o.uid
	}
	o.command = f.Args()
	if len(o.command) == 0 {
		o.command = []string{"sh"}
	}
	switch {
	case o.tree == "":
		return o, errors.New("no --tree: call it by tests/places/pod.sh, which makes one")
	case !o.hostUsers && o.network == "host":
		return o, errors.New("a cluster refuses hostUsers: false together with hostNetwork: true, and so does the kernel: --network none")
	}
	return o, nil
}
