package tests

import (
	"bytes"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"

	"github.com/rogpeppe/go-internal/testscript"
	"golang.org/x/crypto/ssh"
)

// sshserver DIR KEY.pub serves the git repositories in a directory by ssh on the
// loopback, to who has the key, as /NAME. It puts its address into SSH and writes
// its own key as a line of known_hosts to the file hostkey. It ends with the
// script.
func sshserver(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: sshserver DIR KEY.pub")
	}
	permitted, _, _, _, err := ssh.ParseAuthorizedKey([]byte(ts.ReadFile(args[1])))
	ts.Check(err)
	_, key, err := ed25519.GenerateKey(rand.Reader)
	ts.Check(err)
	own, err := ssh.NewSignerFromKey(key)
	ts.Check(err)
	config := &ssh.ServerConfig{PublicKeyCallback: func(_ ssh.ConnMetadata, offered ssh.PublicKey) (*ssh.Permissions, error) {
		if bytes.Equal(offered.Marshal(), permitted.Marshal()) {
			return nil, nil
		}
		return nil, errors.New("another key")
	}}
	config.AddHostKey(own)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	ts.Check(err)
	s := &sshServer{dir: ts.MkAbs(args[0]), config: config}
	s.running.Go(func() { s.serve(listener) })
	ts.Defer(func() {
		_ = listener.Close()
		s.running.Wait()
	})
	host, port, err := net.SplitHostPort(listener.Addr().String())
	ts.Check(err)
	line := fmt.Sprintf("[%s]:%s %s", host, port, ssh.MarshalAuthorizedKey(own.PublicKey()))
	ts.Check(os.WriteFile(ts.MkAbs("hostkey"), []byte(line), 0o600))
	ts.Setenv("SSH", listener.Addr().String())
}

type sshServer struct {
	dir     string
	config  *ssh.ServerConfig
	running sync.WaitGroup
}

func (s *sshServer) serve(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		s.running.Go(func() {
			defer c.Close()
			_, channels, requests, err := ssh.NewServerConn(c, s.config)
			if err != nil {
				return
			}
			go ssh.DiscardRequests(requests)
			for offered := range channels {
				if channel, requests, err := offered.Accept(); err == nil {
					s.running.Go(func() { s.session(channel, requests) })
				}
			}
		})
	}
}

// session answers git-upload-pack alone.
func (s *sshServer) session(channel ssh.Channel, requests <-chan *ssh.Request) {
	defer channel.Close()
	for r := range requests {
		var payload struct{ Command string }
		if r.Type != "exec" || ssh.Unmarshal(r.Payload, &payload) != nil {
			_ = r.Reply(r.Type == "env", nil)
			continue
		}
		_ = r.Reply(true, nil)
		name, ok := strings.CutPrefix(payload.Command, "git-upload-pack '/")
		code := uint32(1)
		if ok && s.uploadPack(channel, strings.TrimSuffix(name, "'")) == nil {
			code = 0
		}
		_, _ = channel.SendRequest("exit-status", false, ssh.Marshal(struct{ Code uint32 }{code}))
		return
	}
}

func (s *sshServer) uploadPack(channel ssh.Channel, name string) error {
	cmd := exec.Command("git", "upload-pack", filepath.Join(s.dir, name))
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=/dev/null"}
	cmd.Stdout, cmd.Stderr = channel, channel.Stderr()
	stdin, err := cmd.StdinPipe()
	if err != nil {
		return err
	}
	if err := cmd.Start(); err != nil {
		return err
	}
	// It ends with the channel.
	s.running.Go(func() {
		_, _ = io.Copy(stdin, channel)
		_ = stdin.Close()
	})
	return cmd.Wait()
}
