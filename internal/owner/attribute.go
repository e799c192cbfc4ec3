package owner

// Attributes in which a file keeps an owner that it can't have itself, because the
// user namespace maps a single id. The value is uid:gid, and may go on after
// another colon.
const (
	// Override is what containers' tools know: "uid:gid:mode". Unpacking and COPY
	// write it.
	Override = "user.containers.override_stat"
	// Emulated is that of an owner set by a program, and counts before Override,
	// which fuse-overlayfs lets nobody write.
	Emulated = "user.builder.owner"
)
