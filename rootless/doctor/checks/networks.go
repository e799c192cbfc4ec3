package checks

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/builder-oci/builder/internal/fault"
	"github.com/builder-oci/builder/rootless/network"
)

// network has a private network carried by a helper, and asks a resolver in it.
func (p probe) network(helper string) func(context.Context) Result {
	return func(ctx context.Context) Result {
		found, err := p.carry(ctx, helper)
		if err != nil {
			if lack := network.Lack(); lack != nil {
				err = lack
			}
			return lacks(helper, err)
		}
		return ok(helper, "%s", found)
	}
}

func (p probe) carry(ctx context.Context, helper string) (found string, err error) {
	dir, err := p.dir(helper)
	if err != nil {
		return "", err
	}
	pending, err := network.Begin(ctx, filepath.Join(dir, "net"), helper, network.DNS{}, nil)
	if err != nil {
		return "", err
	}
	ns, err := pending.Ready(ctx)
	if err != nil {
		return "", err
	}
	defer func() { err = errors.Join(err, ns.Close()) }()
	if ns.Helper == "" {
		return "it starts; this machine itself has no network to give", nil
	}
	file, err := os.Open(ns.Path)
	if err != nil {
		return "", err
	}
	defer file.Close()
	failed := child(ctx, nil, strings.NewReader(string(ns.Resolv)), []*os.File{file}, "resolve")
	if failed == nil {
		return "up, and a resolver answers in it", nil
	}
	if askResolvers(ctx, network.ForHost(network.DNS{}).Resolv) != nil {
		return "up; no resolver answers in it, nor on the machine itself", nil
	}
	return "", fault.Machine("use --network host, or name a resolver that can be reached by --dns",
		"in a network by %s no resolver answers, though one does on the machine itself: %w", helper, failed)
}

// namespaceFD is where resolve has the network namespace.
const namespaceFD = 3

// resolve asks the resolvers of the standard input, in the network namespace of
// the parent's.
func resolve() error {
	runtime.LockOSThread() // the namespace is the thread's
	if err := unix.Setns(namespaceFD, unix.CLONE_NEWNET); err != nil {
		return os.NewSyscallError("setns", err)
	}
	conf, err := io.ReadAll(os.Stdin)
	if err != nil {
		return err
	}
	return askResolvers(context.Background(), conf)
}

// resolverPatience is how long each resolver may take.
const resolverPatience = 3 * time.Second

// askResolvers asks the servers of a resolv.conf(5) in turn who serves the root,
// which tells nobody what this machine is about. Any answer will do. It is all one
// thread's work, or another one's network would be asked.
func askResolvers(ctx context.Context, conf []byte) error {
	var errs []error
	for line := range strings.Lines(string(conf)) {
		fields := strings.Fields(line)
		if len(fields) < 2 || fields[0] != "nameserver" {
			continue
		}
		err := askResolver(ctx, net.JoinHostPort(fields[1], "53"))
		if err == nil {
			return nil
		}
		errs = append(errs, err)
	}
	if len(errs) == 0 {
		return errors.New("no resolver is known")
	}
	return errors.Join(errs...)
}

func askResolver(ctx context.Context, address string) error {
	conn, err := (&net.Dialer{Timeout: resolverPatience}).DialContext(ctx, "udp", address)
	if err != nil {
		return err
	}
	defer conn.Close()
	if err := conn.SetDeadline(time.Now().Add(resolverPatience)); err != nil {
		return err
	}
	if _, err := conn.Write(rootQuery()); err != nil {
		return err
	}
	answer := make([]byte, 512)
	n, err := conn.Read(answer)
	if err != nil {
		return err
	}
	if n < 12 || binary.BigEndian.Uint16(answer) != queryID || answer[2]&0x80 == 0 {
		return fmt.Errorf("%s answers what is no answer", address)
	}
	return nil
}

const queryID = 0x6264

// rootQuery is the question for the root's name servers (RFC 1035, section 4.1).
func rootQuery() []byte {
	q := binary.BigEndian.AppendUint16(nil, queryID)
	q = append(q, 1, 0) // recursion is desired
	for _, count := range []uint16{1, 0, 0, 0} {
		q = binary.BigEndian.AppendUint16(q, count)
	}
	const ns, in = 2, 1
	q = append(q, 0) // the root's name
	q = binary.BigEndian.AppendUint16(q, ns)
	return binary.BigEndian.AppendUint16(q, in)
}
