package sandbox

import (
	"fmt"
	"testing"

	"github.com/builder-oci/builder/rootless/network"
)

// BenchmarkRun measures one trivial program, everything included.
func BenchmarkRun(b *testing.B) {
	needNamespace(b)
	for _, rt := range runtimes(b) {
		for _, cache := range []bool{true, false} {
			for _, mode := range []network.Mode{network.ModeHost, network.ModeNone} {
				b.Run(fmt.Sprintf("%s,ready=%v,%s", rt.Name, cache, mode), func(b *testing.B) {
					if rt.Name == "runc" {
						showCgroups()
					}
					dir := ""
					if cache {
						dir = b.TempDir()
					}
					o := NewOCI(rt, dir, true)
					s := shell(b, "")
					s.Args, s.Network = []string{"true"}, mode
					s.Hostname, s.ResolvConf, s.Hosts = "box", []byte{}, []byte{}
					output(b, o, s)
					for b.Loop() {
						if exit, err := o.Run(b.Context(), s); err != nil || exit.Code != 0 {
							b.Fatal(exit, err)
						}
					}
				})
			}
		}
	}
}
