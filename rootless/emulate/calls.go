package emulate

import (
	"encoding/binary"
	"runtime"

	"golang.org/x/sys/unix"
)

// abi is one of the ways in which programs of this machine call the kernel.
type abi struct {
	calls map[int32]func(*caller) answer
	// stat makes the struct of the stat calls.
	stat func(*unix.Stat_t) []byte
}

// answer finds out what a call returns.
func (s *Supervisor) answer(n *notifier, req *request) answer {
	abi := abis[req.Arch]
	if abi == nil {
		return toKernel
	}
	call := abi.calls[req.Nr&^x32Bit]
	if call == nil {
		return toKernel
	}
	c := &caller{s: s, n: n, req: req, abi: abi}
	if s.o.Mode == Emulate {
		c.p = s.process(int(req.PID))
	}
	return call(c)
}

// x32Bit marks the calls of x32, whose numbers are amd64's for all that is
// answered here.
const x32Bit = 0x40000000

// Names of architectures, see linux/audit.h.
const (
	archAMD64   = 0xc000003e
	arch386     = 0x40000003
	archARM64   = 0xc00000b7
	archRISCV64 = 0xc00000f3
	archLOONG64 = 0xc0000102
)

// generic has the numbers of what arm64, riscv64 and all newer architectures share,
// see asm-generic/unistd.h.
var generic = map[int32]func(*caller) answer{
	11: sysListxattr, 12: sysLlistxattr, 13: sysFlistxattr,
	33: sysMknodat, 34: sysMkdirat, 36: sysSymlinkat, 54: sysFchownat, 55: sysFchown, 56: sysOpenat,
	91: sysCapset, 167: sysPrctl,
	79: sysFstatat, 80: sysFstat, 94: sysExit,
	143: sysSetregid, 144: sysSetgid, 145: sysSetreuid, 146: sysSetuid, 147: sysSetresuid, 148: sysGetresuid,
	149: sysSetresgid, 150: sysGetresgid, 151: sysSetfsuid, 152: sysSetfsgid, 158: sysGetgroups, 159: sysSetgroups,
	174: sysGetuid, 175: sysGeteuid, 176: sysGetgid, 177: sysGetegid,
	221: sysExecve, 281: sysExecveat, 291: sysStatx, 437: sysOpenat2,
}

var amd64 = map[int32]func(*caller) answer{
	2: sysOpen, 4: sysStat, 5: sysFstat, 6: sysLstat, 59: sysExecve,
	83: sysMkdir, 85: sysCreat, 88: sysSymlink, 92: sysChown, 93: sysFchown, 94: sysLchown,
	102: sysGetuid, 104: sysGetgid, 105: sysSetuid, 106: sysSetgid, 107: sysGeteuid, 108: sysGetegid,
	113: sysSetreuid, 114: sysSetregid, 115: sysGetgroups, 116: sysSetgroups, 117: sysSetresuid, 118: sysGetresuid,
	119: sysSetresgid, 120: sysGetresgid, 122: sysSetfsuid, 123: sysSetfsgid, 126: sysCapset, 157: sysPrctl, 133: sysMknod,
	194: sysListxattr, 195: sysLlistxattr, 196: sysFlistxattr, 231: sysExit, 257: sysOpenat, 258: sysMkdirat, 259: sysMknodat, 260: sysFchownat, 262: sysFstatat, 266: sysSymlinkat,
	322: sysExecveat, 332: sysStatx, 437: sysOpenat2,
	// x32 has numbers of its own where pointers to pointers are passed.
	520: sysExecve, 545: sysExecveat,
}

// i386 leaves out the calls with ids of 16 bits, which no C library makes any more.
var i386 = map[int32]func(*caller) answer{
	5: sysOpen, 8: sysCreat, 11: sysExecve, 14: sysMknod, 39: sysMkdir, 83: sysSymlink,
	172: sysPrctl, 185: sysCapset,
	195: sysStat, 196: sysLstat, 197: sysFstat, 198: sysLchown, 199: sysGetuid, 200: sysGetgid, 201: sysGeteuid, 202: sysGetegid,
	203: sysSetreuid, 204: sysSetregid, 205: sysGetgroups, 206: sysSetgroups, 207: sysFchown, 208: sysSetresuid, 209: sysGetresuid,
	210: sysSetresgid, 211: sysGetresgid, 212: sysChown, 213: sysSetuid, 214: sysSetgid, 215: sysSetfsuid, 216: sysSetfsgid,
	232: sysListxattr, 233: sysLlistxattr, 234: sysFlistxattr, 252: sysExit, 295: sysOpenat, 296: sysMkdirat, 297: sysMknodat, 298: sysFchownat, 300: sysFstatat, 304: sysSymlinkat,
	358: sysExecveat, 383: sysStatx, 437: sysOpenat2,
}

// abis are those of this machine's programs whose numbers and structures are known
// here. The kernel answers the calls of all others.
var abis = abisOf[runtime.GOARCH]

// abisOf are the abis by what builder is compiled for: where that has 32 bits it
// can't answer programs of 64.
var abisOf = map[string]map[uint32]*abi{
	"amd64":   {archAMD64: {calls: amd64, stat: nativeStat}, arch386: {calls: i386, stat: stat64}},
	"386":     {arch386: {calls: i386, stat: stat64}},
	"arm64":   {archARM64: {calls: generic, stat: nativeStat}},
	"riscv64": {archRISCV64: {calls: generic, stat: nativeStat}},
	"loong64": {archLOONG64: {calls: generic, stat: nativeStat}},
}

// stat64 is the struct stat64 of i386.
func stat64(st *unix.Stat_t) []byte {
	b := make([]byte, 0, 96)
	u32 := func(n ...uint32) {
		for _, n := range n {
			b = binary.LittleEndian.AppendUint32(b, n)
		}
	}
	u64 := func(n uint64) { b = binary.LittleEndian.AppendUint64(b, n) }
	u64(st.Dev)
	u32(0, uint32(st.Ino), st.Mode, uint32(st.Nlink), st.Uid, st.Gid)
	u64(st.Rdev)
	u32(0)
	u64(uint64(st.Size))
	u32(uint32(st.Blksize))
	u64(uint64(st.Blocks))
	for _, t := range []unix.Timespec{st.Atim, st.Mtim, st.Ctim} {
		u32(uint32(t.Sec), uint32(t.Nsec))
	}
	u64(st.Ino)
	return b
}
