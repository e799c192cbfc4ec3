package sshagent

import (
	"net"
	"testing"

	"golang.org/x/crypto/ssh/agent"
)

func TestBuildsCanOnlySign(t *testing.T) {
	answer, err := Access{Keys: []string{"testdata/none"}}.Open()
	if err == nil || answer != nil {
		t.Fatal("a key that isn't there was read")
	}
	keys := agent.NewKeyring().(agent.ExtendedAgent)
	client, server := net.Pipe()
	defer client.Close()
	go func() { _ = agent.ServeAgent(signer{keys}, server) }()
	c := agent.NewClient(client)
	if list, err := c.List(); err != nil || len(list) != 0 {
		t.Errorf("%v, %v", list, err)
	}
	for name, err := range map[string]error{
		"lock": c.Lock([]byte("x")), "unlock": c.Unlock([]byte("x")), "remove": c.RemoveAll(),
	} {
		if err == nil {
			t.Errorf("a build may %s", name)
		}
	}
	if _, err := c.Extension("session-bind@openssh.com", nil); err == nil {
		t.Error("a build may extend")
	}
}
