package emulate

import (
	"os"
	"reflect"
	"runtime"
	"strconv"
	"strings"
	"testing"
)

// TestCallsHaveTheNumbersOfTheirNames compares the numbers with those of the seccomp
// compiler's tables, which are made of golang.org/x/sys/unix.
func TestCallsHaveTheNumbersOfTheirNames(t *testing.T) {
	for goarch, abis := range abisOf {
		for _, abi := range abis {
			table := goarch
			if goarch == "amd64" && reflect.ValueOf(abi.calls).Pointer() == reflect.ValueOf(i386).Pointer() {
				table = "386"
			}
			numbers := readTable(t, table)
			for number, call := range abi.calls {
				if table == "amd64" && (number == 520 || number == 545) { // x32's
					continue
				}
				name := handles(call)
				if found := numbers[number]; plainName(found) != name {
					t.Errorf("%s: %d, answered as %s, is %s", table, number, name, found)
				}
			}
		}
	}
}

// handles is the name of the call that a function answers.
func handles(call func(*caller) answer) string {
	name := runtime.FuncForPC(reflect.ValueOf(call).Pointer()).Name()
	return strings.ToLower(name[strings.LastIndex(name, ".sys")+len(".sys"):])
}

// plainName is a call's name without what tells it from an older one of its kind.
func plainName(name string) string {
	name = strings.TrimPrefix(strings.TrimSuffix(strings.TrimSuffix(name, "32"), "64"), "new")
	return strings.TrimSuffix(name, "_group")
}

func readTable(t *testing.T, goarch string) map[int32]string {
	t.Helper()
	data, err := os.ReadFile("../chroot/seccomp/syscalls_" + goarch + ".txt")
	if err != nil {
		t.Fatal(err)
	}
	names := map[int32]string{}
	for line := range strings.Lines(string(data)) {
		name, number, _ := strings.Cut(strings.TrimSpace(line), " ")
		n, err := strconv.ParseInt(number, 10, 32)
		if err != nil {
			t.Fatal(err)
		}
		names[int32(n)] = name
	}
	return names
}
