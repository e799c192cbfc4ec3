package layout

import "testing"

func TestAGzipTrailerCountsModuloFourGiB(t *testing.T) {
	const gib = int64(1) << 30
	for _, test := range []struct {
		name    string
		packed  int64
		trailer uint32
		want    int64
	}{
		{"as it says", 1000, 5000, 5000},
		{"hardly compressed", 1030, 1010, 1010},
		{"tiny", 33, 10, 10},
		{"nothing", 20, 0, 0},
		{"beyond 4 GiB", 2 * gib, 1 << 20, 4*gib + 1<<20},
		{"beyond 8 GiB, not compressed", 9*gib + 1000, 1 << 30, 9 * gib},
		{"the last of several streams", 1 << 20, 512, 1 << 20},
		{"an empty last stream", 2 * gib, 0, 2 * gib},
	} {
		if got := gzipSize(test.packed, test.trailer); got != test.want {
			t.Errorf("%s: %d, not %d", test.name, got, test.want)
		}
	}
}
