package layer

import (
	"bytes"
	"encoding/binary"
	"hash/crc32"
	"io"
	"math/rand/v2"
	"os/exec"
	"runtime"
	"strings"
	"testing"
)

// xzOf compresses by another program.
func xzOf(t *testing.T, data []byte, args ...string) []byte {
	t.Helper()
	cmd := exec.Command("xz", append([]string{"-c"}, args...)...)
	cmd.Stdin = bytes.NewReader(data)
	out, err := cmd.Output()
	must(t, err)
	return out
}

// xzBlock is the beginning of a block with one byte, whose dictionary is given
// in the format's own way.
func xzBlock(dictionary byte) []byte {
	head := []byte{2, 0, 0x21, 1, dictionary, 0, 0, 0}
	head = binary.LittleEndian.AppendUint32(head, crc32.ChecksumIEEE(head))
	return append(head, 1, 0, 0, 'x', 0)
}

func TestXzOfAllShapesIsRead(t *testing.T) {
	noise := make([]byte, 300<<10)
	for i := range noise {
		noise[i] = byte(rand.Uint32())
	}
	data := append(bytes.Repeat([]byte("text that compresses "), 30000), noise...)
	for _, args := range [][]string{{"-0"}, {"-6e"}, {"--block-size=100000"}, {"-T2", "--block-size=65537", "--check=sha256"}, {"--check=none"}, {"--check=crc32"}, {"--lzma2=dict=1536KiB"}} {
		blob := xzOf(t, data, args...)
		empty := xzOf(t, nil)
		for name, stream := range map[string][]byte{
			"one stream":   blob,
			"some streams": bytes.Join([][]byte{empty, blob, make([]byte, 8), empty, make([]byte, 4)}, nil),
		} {
			if args[0] == "--check=none" && name == "some streams" {
				continue
			}
			r, kind, err := Decompress(bytes.NewReader(stream))
			must(t, err)
			back, err := io.ReadAll(r)
			if kind != "xz" || err != nil || !bytes.Equal(back, data) {
				t.Errorf("%v, %s: %d of %d bytes, error %v", args, name, len(back), len(data), err)
			}
		}
	}
}

func TestXzMayNotTakeAllMemory(t *testing.T) {
	whole := xzOf(t, []byte("x"))
	streamHead := whole[:12]
	// The first block ends where the index begins, which has 8 bytes here
	// and 12 of footer behind it.
	firstBlock := whole[:len(whole)-20]
	for name, start := range map[string][]byte{"the first block": streamHead, "a later block": firstBlock, "a later stream": append(bytes.Clone(whole), streamHead...)} {
		for _, dictionary := range []byte{31, 40} {
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			r, _, err := Decompress(bytes.NewReader(append(bytes.Clone(start), xzBlock(dictionary)...)))
			must(t, err)
			_, err = io.ReadAll(r)
			runtime.ReadMemStats(&after)
			if err == nil || !strings.Contains(err.Error(), "dictionary") {
				t.Errorf("%s, dictionary %d: error %v", name, dictionary, err)
			}
			if n := (after.TotalAlloc - before.TotalAlloc) >> 20; n > 64 {
				t.Errorf("%s, dictionary %d: %d MiB were taken", name, dictionary, n)
			}
		}
	}
}

func TestCutXzIsAnError(t *testing.T) {
	whole := xzOf(t, bytes.Repeat([]byte("text "), 100), "--block-size=100")
	for n := 6; n < len(whole); n += 5 {
		r, _, err := Decompress(bytes.NewReader(whole[:n]))
		if err == nil {
			_, err = io.ReadAll(r)
		}
		if err == nil {
			t.Errorf("%d of %d bytes are taken for the whole", n, len(whole))
		}
	}
}
