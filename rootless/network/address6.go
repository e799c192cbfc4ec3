package network

import (
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"runtime"

	"golang.org/x/sys/unix"
)

// setIPv6 gives an interface in the namespace that path is bound to an address,
// usable at once, and a default route (rtnetlink(7)). What router advertisements have
// brought already gives way.
func setIPv6(path, device string, address netip.Prefix, gateway netip.Addr) error {
	result := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends here
		result <- func() error {
			if err := enterNetwork(path); err != nil {
				return err
			}
			link, err := net.InterfaceByName(device)
			if err != nil {
				return err
			}
			return errors.Join(addAddress(link.Index, address), addRoute(link.Index, gateway))
		}()
	}()
	return <-result
}

func addAddress(link int, address netip.Prefix) error {
	ip := address.Addr().AsSlice()
	body := []byte{unix.AF_INET6, byte(address.Bits()), unix.IFA_F_NODAD, unix.RT_SCOPE_UNIVERSE} // ifaddrmsg
	body = binary.NativeEndian.AppendUint32(body, uint32(link))
	body = appendAttribute(body, unix.IFA_LOCAL, ip)
	return tellKernel(unix.RTM_NEWADDR, appendAttribute(body, unix.IFA_ADDRESS, ip))
}

func addRoute(link int, gateway netip.Addr) error {
	body := make([]byte, unix.SizeofRtMsg)
	body[0], body[4], body[5], body[6], body[7] = unix.AF_INET6, unix.RT_TABLE_MAIN, unix.RTPROT_STATIC, unix.RT_SCOPE_UNIVERSE, unix.RTN_UNICAST
	body = appendAttribute(body, unix.RTA_GATEWAY, gateway.AsSlice())
	return tellKernel(unix.RTM_NEWROUTE, appendAttribute(body, unix.RTA_OIF, binary.NativeEndian.AppendUint32(nil, uint32(link))))
}

// appendAttribute appends one whose length is a multiple of four.
func appendAttribute(b []byte, kind uint16, value []byte) []byte {
	b = binary.NativeEndian.AppendUint16(b, uint16(unix.SizeofRtAttr+len(value)))
	b = binary.NativeEndian.AppendUint16(b, kind)
	return append(b, value...)
}

// tellKernel sends a request by netlink and waits until it is acknowledged.
func tellKernel(kind uint16, body []byte) error {
	fd, err := unix.Socket(unix.AF_NETLINK, unix.SOCK_RAW|unix.SOCK_CLOEXEC, unix.NETLINK_ROUTE)
	if err != nil {
		return os.NewSyscallError("socket", err)
	}
	defer func() { _ = unix.Close(fd) }()
	request := binary.NativeEndian.AppendUint32(nil, uint32(unix.SizeofNlMsghdr+len(body)))
	request = binary.NativeEndian.AppendUint16(request, kind)
	request = binary.NativeEndian.AppendUint16(request, unix.NLM_F_REQUEST|unix.NLM_F_ACK|unix.NLM_F_CREATE|unix.NLM_F_REPLACE)
	request = append(request, make([]byte, 8)...) // sequence number and port
	if err := unix.Sendto(fd, append(request, body...), 0, &unix.SockaddrNetlink{Family: unix.AF_NETLINK}); err != nil {
		return os.NewSyscallError("sendto", err)
	}
	answer := make([]byte, 1024)
	n, _, err := unix.Recvfrom(fd, answer, 0)
	if err != nil {
		return os.NewSyscallError("recvfrom", err)
	}
	if n < unix.SizeofNlMsghdr+4 {
		return errors.New("netlink: a short answer")
	}
	if number := int32(binary.NativeEndian.Uint32(answer[unix.SizeofNlMsghdr:])); number != 0 {
		return os.NewSyscallError("netlink", unix.Errno(-number))
	}
	return nil
}
