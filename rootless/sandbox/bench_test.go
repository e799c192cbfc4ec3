package sandbox

import (
	"errors"
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

// BenchmarkProgram measures a trivial program that outlives the call that makes
// it, and another one in the sandbox of a first.
func BenchmarkProgram(b *testing.B) {
	needNamespace(b)
	for _, rt := range runtimes(b) {
		if rt.Name == "runc" {
			showCgroups()
		}
		o := NewOCI(rt, b.TempDir(), true)
		s := shell(b, "")
		s.Args = []string{"true"}
		b.Run(rt.Name+",create", func(b *testing.B) {
			for b.Loop() {
				p, err := o.Create(b.Context(), s)
				if err != nil {
					b.Fatal(err)
				}
				if err := p.Start(); err != nil {
					b.Fatal(err)
				}
				exit, err := p.Wait()
				if err = errors.Join(err, p.Close()); err != nil || exit.Code != 0 {
					b.Fatal(exit, err)
				}
			}
		})
		s.Args = []string{"sleep", "617"}
		b.Run(rt.Name+",exec", func(b *testing.B) {
			p := started(b, o, s)
			e := execution("")
			e.Args = []string{"true"}
			for b.Loop() {
				r, err := p.Exec(b.Context(), e)
				if err != nil {
					b.Fatal(err)
				}
				if exit, err := r.Wait(); err != nil || exit.Code != 0 {
					b.Fatal(exit, err)
				}
			}
		})
	}
}
