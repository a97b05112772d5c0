#include "netstack/host/host_sockets.h"

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <linux/errqueue.h>
#include <linux/icmp.h>
#include <linux/icmpv6.h>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/socket.h>
#include <utility>

#include "netstack/host/packet_info.h"
#include "netstack/host/socket_address.h"
#include "netstack/host/socket_options.h"

namespace cordon {
namespace {

constexpr std::size_t kMaxDatagram = 65536;
// Descriptors whose state is remembered: above any limit that a translator is given.
constexpr std::size_t kMaxDescriptors = std::size_t{128} * 1024;
constexpr std::uint8_t kDefaultTtl = 64;
// Every option that is sent or received with a datagram, with room.
constexpr std::size_t kControlSize = 256;

// Control messages of one datagram, written one behind the other (cmsg(3)).
class ControlWriter {
 public:
  template <class T>
  void add(int level, int type, const T& value) {
    add(level, type, Bytes(reinterpret_cast<const std::uint8_t*>(&value), sizeof(T)));
  }
  void add(int level, int type, Bytes value) {
    cmsghdr header{};
    header.cmsg_len = CMSG_LEN(value.size());
    header.cmsg_level = level;
    header.cmsg_type = type;
    std::memcpy(storage_.data() + used_, &header, sizeof(header));
    std::memcpy(storage_.data() + used_ + CMSG_LEN(0), value.data(), value.size());
    used_ += CMSG_SPACE(value.size());
  }
  void attach(msghdr& message) {
    message.msg_control = used_ == 0 ? nullptr : storage_.data();
    message.msg_controllen = used_;
  }

 private:
  alignas(cmsghdr) std::array<std::uint8_t, kControlSize> storage_{};
  std::size_t used_ = 0;
};

template <class T>
std::optional<T> control_value(const cmsghdr& header) {
  if (header.cmsg_len < CMSG_LEN(sizeof(T))) return std::nullopt;
  T value;
  std::memcpy(&value, CMSG_DATA(&header), sizeof(T));
  return value;
}

std::optional<HostEnd> read_end(const cmsghdr& header) {
  if (header.cmsg_len < CMSG_LEN(0)) return std::nullopt;
  return read_packet_info(header.cmsg_level, header.cmsg_type,
                          Bytes(CMSG_DATA(&header), header.cmsg_len - CMSG_LEN(0)));
}

void write_fields(ControlWriter& control, Family family, const SendFields& fields) {
  if (fields.ttl != kDefaultTtl) {
    if (family == Family::kIpv4) {
      control.add(IPPROTO_IP, IP_TTL, int{fields.ttl});
    } else {
      control.add(IPPROTO_IPV6, IPV6_HOPLIMIT, int{fields.ttl});
    }
  }
  if (fields.traffic_class != 0) {
    if (family == Family::kIpv4) {
      control.add(IPPROTO_IP, IP_TOS, int{fields.traffic_class});
    } else {
      control.add(IPPROTO_IPV6, IPV6_TCLASS, int{fields.traffic_class});
    }
  }
  if (fields.segment_size != 0) {
    control.add(IPPROTO_UDP, UDP_SEGMENT, std::uint16_t{fields.segment_size});
  }
  if (fields.from) {
    const PacketInfo info = packet_info(*fields.from);
    control.add(info.level, info.type, info.data());
  }
}

// What the error queue says of one datagram (ip(7), IP_RECVERR).
struct QueuedError {
  sock_extended_err error{};
  std::optional<IpAddress> offender;
};

std::optional<QueuedError> queued_error(msghdr& message) {
  for (cmsghdr* header = CMSG_FIRSTHDR(&message); header != nullptr;
       header = CMSG_NXTHDR(&message, header)) {
    const bool is_v4 = header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_RECVERR;
    const bool is_v6 = header->cmsg_level == IPPROTO_IPV6 && header->cmsg_type == IPV6_RECVERR;
    if (!is_v4 && !is_v6) continue;
    QueuedError queued;
    struct WithOffenderV4 {
      sock_extended_err error;
      sockaddr_in offender;
    };
    struct WithOffenderV6 {
      sock_extended_err error;
      sockaddr_in6 offender;
    };
    if (const auto v4 = control_value<WithOffenderV4>(*header); is_v4 && v4) {
      queued.error = v4->error;
      if (v4->offender.sin_family == AF_INET) {
        queued.offender = IpAddress::v4(ntohl(v4->offender.sin_addr.s_addr));
      }
    } else if (const auto v6 = control_value<WithOffenderV6>(*header); is_v6 && v6) {
      queued.error = v6->error;
      if (v6->offender.sin6_family == AF_INET6) {
        queued.offender = IpAddress::from_octets(
            Bytes(v6->offender.sin6_addr.s6_addr, sizeof(v6->offender.sin6_addr.s6_addr)));
      }
    } else {
      continue;
    }
    return queued;
  }
  return std::nullopt;
}

bool is_ttl_exceeded(const sock_extended_err& error) {
  return (error.ee_origin == SO_EE_ORIGIN_ICMP && error.ee_type == ICMP_TIME_EXCEEDED) ||
         (error.ee_origin == SO_EE_ORIGIN_ICMP6 && error.ee_type == ICMPV6_TIME_EXCEED);
}

UniqueFd make_query_socket(Family family) {
  // syscalls: socket(SOCK_DGRAM)
  UniqueFd socket(
      ::socket(socket_family(family), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, IPPROTO_UDP));
  if (socket.is_open()) preset_datagram(socket.get(), family, DatagramUse::kQuery);
  return socket;
}

}  // namespace

KernelHostSockets::KernelHostSockets(EventLoop& loop)
    : loop_(loop),
      // NOLINTNEXTLINE(cppcoreguidelines-no-malloc): it is calloc() that gives pages unwritten
      rooms_(static_cast<std::uint8_t*>(std::calloc(kBatch, kRoom))),
      fragmenting_(kMaxDescriptors) {
  if (rooms_ == nullptr) std::abort();  // At start only; there is nothing to go on with.
  for (std::size_t i = 0; i < kBatch; ++i) {
    Inbound& inbound = inbound_[i];
    inbound.part = iovec{.iov_base = &rooms_[i * kRoom], .iov_len = kMaxDatagram};
    messages_[i].msg_hdr = msghdr{.msg_name = inbound.peer.out(),
                                  .msg_iov = &inbound.part,
                                  .msg_iovlen = 1,
                                  .msg_control = inbound.control.data()};
  }
  prepare();
}

IoResult<SocketHandle> KernelHostSockets::dial(const AllowedDestination& destination,
                                               SocketOwner owner) {
  const Endpoint& endpoint = destination.endpoint();
  IoResult<UniqueFd> socket = ready_.take(endpoint.address.family());
  if (!socket) return std::unexpected(socket.error());
  const SocketAddress address(endpoint);
  // syscalls: connect
  if (connect(socket->get(), address.get(), address.size()) != 0 && errno != EINPROGRESS) {
    return std::unexpected(Errno{errno});
  }
  const IoStatus watched = loop_.watch_edges(socket->get(), owner);
  if (!watched) return std::unexpected(watched.error());
  return SocketHandle{socket->release()};
}

IoStatus KernelHostSockets::dial_result(SocketHandle socket, const Readiness& readiness) {
  return connect_result(socket.descriptor, readiness);
}

std::optional<Endpoint> KernelHostSockets::local_endpoint(SocketHandle socket) {
  SocketAddress address;
  // syscalls: getsockname
  if (getsockname(socket.descriptor, address.out(), address.size_out()) != 0) return std::nullopt;
  return address.endpoint();
}

IoResult<AcceptedStream> KernelHostSockets::accept(SocketHandle listener) {
  SocketAddress client;
  // syscalls: accept4(SOCK_NONBLOCK|SOCK_CLOEXEC)
  UniqueFd socket(
      accept4(listener.descriptor, client.out(), client.size_out(), SOCK_NONBLOCK | SOCK_CLOEXEC));
  if (!socket.is_open()) return std::unexpected(Errno{errno});
  preset_stream(socket.get());
  const std::optional<Endpoint> local = local_endpoint(SocketHandle{socket.get()});
  const std::optional<Endpoint> from = client.endpoint();
  if (!from || !local) return std::unexpected(Errno{ECONNABORTED});
  return AcceptedStream{.socket = SocketHandle{socket.release()}, .client = *from, .local = *local};
}

IoStatus KernelHostSockets::own(SocketHandle socket, SocketOwner owner) {
  return loop_.watch_edges(socket.descriptor, owner);
}

void KernelHostSockets::set_listening(SocketHandle listener, SocketOwner owner, bool is_on) {
  loop_.set_readable(listener.descriptor, owner, is_on);
}

IoResult<SocketHandle> KernelHostSockets::open_datagram(Family family, int protocol,
                                                        SocketOwner owner, DatagramUse use) {
  // syscalls: socket(SOCK_DGRAM)
  UniqueFd socket(
      ::socket(socket_family(family), SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, protocol));
  if (!socket.is_open()) return std::unexpected(Errno{errno});
  preset_datagram(socket.get(), family, use);
  const auto index = static_cast<std::size_t>(socket.get());
  if (index < fragmenting_.size()) fragmenting_[index] = Fragmenting::kUnset;
  const IoStatus watched = loop_.watch_readable(socket.get(), owner);
  if (!watched) return std::unexpected(watched.error());
  return SocketHandle{socket.release()};
}

IoResult<SocketHandle> KernelHostSockets::open_udp(Family family, SocketOwner owner) {
  return open_datagram(family, IPPROTO_UDP, owner, DatagramUse::kFlow);
}

IoResult<SocketHandle> KernelHostSockets::ask(const AllowedDestination& whom, Bytes question,
                                              SocketOwner owner) {
  UniqueFd socket = take_spare(whom.endpoint().address.family());
  if (!socket.is_open()) return std::unexpected(Errno{errno});
  const SocketAddress address(whom.endpoint());
  // syscalls: sendto
  if (sendto(socket.get(), question.data(), question.size(), MSG_DONTWAIT | MSG_NOSIGNAL,
             address.get(), address.size()) < 0) {
    return std::unexpected(Errno{errno});
  }
  // Now that the question is on its way: an answer that is there already is reported all the same.
  const IoStatus watched = loop_.watch_readable(socket.get(), owner);
  if (!watched) return std::unexpected(watched.error());
  return SocketHandle{socket.release()};
}

// Nothing says whether a question may be cut: it is smaller than any path's MTU.
UniqueFd KernelHostSockets::take_spare(Family family) {
  Spare& spare = spares_[family == Family::kIpv4 ? 0 : 1];
  spare.is_wanted = true;
  if (!spare.socket.is_open()) return make_query_socket(family);
  return std::move(spare.socket);
}

// Once for each question: a family that the host has not is not asked for again and again.
void KernelHostSockets::prepare() {
  for (const Family family : {Family::kIpv4, Family::kIpv6}) {
    Spare& spare = spares_[family == Family::kIpv4 ? 0 : 1];
    if (std::exchange(spare.is_wanted, false) && !spare.socket.is_open()) {
      spare.socket = make_query_socket(family);
    }
  }
}

IoResult<SocketHandle> KernelHostSockets::open_ping(Family family, SocketOwner owner) {
  return open_datagram(family, family == Family::kIpv4 ? int{IPPROTO_ICMP} : int{IPPROTO_ICMPV6},
                       owner, DatagramUse::kPing);
}

IoStatus KernelHostSockets::send(SocketHandle socket, const AllowedDestination& destination,
                                 const SendFields& fields, std::span<const Bytes> parts) {
  const Family family = destination.endpoint().address.family();
  SocketAddress address(destination.endpoint(), fields.from ? fields.from->zone : 0);
  set_may_fragment(socket.descriptor, family, fields.may_fragment);
  ControlWriter control;
  write_fields(control, family, fields);
  std::array<iovec, kMaxSendParts> vectors;  // NOLINT: as many as are used are filled
  const std::size_t count = std::min(parts.size(), vectors.size());
  for (std::size_t i = 0; i < count; ++i) {
    vectors[i] = iovec{.iov_base = const_cast<std::uint8_t*>(parts[i].data()),  // NOLINT: only read
                       .iov_len = parts[i].size()};
  }
  msghdr message{.msg_name = address.out(),
                 .msg_namelen = address.size(),
                 .msg_iov = vectors.data(),
                 .msg_iovlen = count};
  control.attach(message);
  // syscalls: sendmsg
  if (sendmsg(socket.descriptor, &message, MSG_DONTWAIT | MSG_NOSIGNAL) >= 0) return {};
  return std::unexpected(Errno{errno});
}

void KernelHostSockets::set_may_fragment(int descriptor, Family family, bool may_fragment) {
  const auto index = static_cast<std::size_t>(descriptor);
  const Fragmenting wanted = may_fragment ? Fragmenting::kMay : Fragmenting::kMayNot;
  if (index >= fragmenting_.size() || fragmenting_[index] == wanted) return;
  fragmenting_[index] = wanted;
  if (family == Family::kIpv4) {
    set_option(descriptor, IPPROTO_IP, IP_MTU_DISCOVER,
               may_fragment ? int{IP_PMTUDISC_DONT} : int{IP_PMTUDISC_DO});
  } else {
    set_option(descriptor, IPPROTO_IPV6, IPV6_MTU_DISCOVER,
               may_fragment ? int{IPV6_PMTUDISC_WANT} : int{IPV6_PMTUDISC_DO});
  }
}

bool KernelHostSockets::receive(SocketHandle socket, std::size_t budget, DatagramSink& sink) {
  const std::size_t wanted = std::min(budget, kBatch);
  for (std::size_t i = 0; i < wanted; ++i) {
    msghdr& header = messages_[i].msg_hdr;
    header.msg_namelen = SocketAddress::capacity();
    header.msg_controllen = kReceiveControl;
  }
  // syscalls: recvmmsg
  const int got = recvmmsg(socket.descriptor, messages_.data(), static_cast<unsigned>(wanted),
                           MSG_DONTWAIT, nullptr);
  if (got < 0) {
    // A pending ICMP error is reported here once; the error queue has told it.
    return errno != EAGAIN && errno != EBADF && errno != EINTR;
  }
  for (std::size_t i = 0; i < static_cast<std::size_t>(got); ++i) {
    if (const std::optional<ReceivedDatagram> datagram = received(i)) sink.on_datagram(*datagram);
  }
  return static_cast<std::size_t>(got) == wanted;
}

std::optional<ReceivedDatagram> KernelHostSockets::received(std::size_t index) {
  static_assert(CMSG_SPACE(kMaxPacketInfo) + CMSG_SPACE(sizeof(int)) <= kReceiveControl);
  mmsghdr& message = messages_[index];
  SocketAddress& peer = inbound_[index].peer;
  *peer.size_out() = message.msg_hdr.msg_namelen;
  const std::optional<Endpoint> from = peer.endpoint();
  if (!from) return std::nullopt;
  const std::size_t size = message.msg_len;
  ReceivedDatagram datagram{.peer = *from, .payload = Bytes(&rooms_[index * kRoom], size)};
  for (cmsghdr* header = CMSG_FIRSTHDR(&message.msg_hdr); header != nullptr;
       header = CMSG_NXTHDR(&message.msg_hdr, header)) {
    if (const std::optional<HostEnd> end = read_end(*header)) datagram.to = end;
    if (header->cmsg_level != IPPROTO_UDP || header->cmsg_type != UDP_GRO) continue;
    const auto segment = static_cast<std::size_t>(control_value<int>(*header).value_or(0));
    if (segment > 0 && segment < size) datagram.segment_size = static_cast<std::uint16_t>(segment);
  }
  return datagram;
}

void KernelHostSockets::receive_errors(SocketHandle socket, DatagramSink& sink) {
  // The queue is bounded by the socket's receive buffer; this bound is for a peer that keeps
  // filling it.
  for (int i = 0; i < 64; ++i) {
    SocketAddress destination;
    alignas(cmsghdr) std::array<std::uint8_t, kControlSize> control{};
    std::array<std::uint8_t, 1024> payload{};
    iovec part{.iov_base = payload.data(), .iov_len = payload.size()};
    msghdr message{.msg_name = destination.out(),
                   .msg_namelen = SocketAddress::capacity(),
                   .msg_iov = &part,
                   .msg_iovlen = 1,
                   .msg_control = control.data(),
                   .msg_controllen = control.size()};
    // syscalls: recvmsg(MSG_ERRQUEUE)
    const ssize_t size = recvmsg(socket.descriptor, &message, MSG_ERRQUEUE | MSG_DONTWAIT);
    if (size < 0) return;
    *destination.size_out() = message.msg_namelen;
    const std::optional<Endpoint> to = destination.endpoint();
    const std::optional<QueuedError> queued = queued_error(message);
    if (!to || !queued) continue;
    const int error = static_cast<int>(queued->error.ee_errno);
    sink.on_error(DatagramError{.destination = *to,
                                .error = error,
                                .offender = queued->offender,
                                .is_ttl_exceeded = is_ttl_exceeded(queued->error),
                                .mtu = error == EMSGSIZE ? queued->error.ee_info : 0,
                                .payload = Bytes(payload).first(static_cast<std::size_t>(size))});
  }
}

void KernelHostSockets::close(SocketHandle socket) {
  // syscalls: close
  UniqueFd(socket.descriptor).reset();
}

}  // namespace cordon
