#include "netstack/wire/tcp.h"

#include <algorithm>

#include "netstack/wire/checksum.h"

namespace cordon {
namespace {

struct TcpHeader {
  Be16 source_port;
  Be16 destination_port;
  Be32 seq;
  Be32 ack;
  std::uint8_t data_offset = 0;  // in the high four bits, 32-bit words
  std::uint8_t flags = 0;
  Be16 window;
  Be16 checksum;
  Be16 urgent_pointer;
};
static_assert(sizeof(TcpHeader) == kTcpHeaderSize);

enum OptionKind : std::uint8_t {
  kEndOfList = 0,
  kNoOperation = 1,
  kMss = 2,
  kWindowScale = 3,
  kSackPermitted = 4,
  kTimestamps = 8,
};

constexpr std::uint8_t kMaxWindowScale = 14;  // RFC 7323 section 2.3

TcpFlags flags_of(std::uint8_t bits) {
  return TcpFlags{.fin = (bits & 0x01) != 0,
                  .syn = (bits & 0x02) != 0,
                  .rst = (bits & 0x04) != 0,
                  .psh = (bits & 0x08) != 0,
                  .ack = (bits & 0x10) != 0,
                  .urg = (bits & 0x20) != 0};
}

std::uint8_t bits_of(const TcpFlags& flags) {
  return static_cast<std::uint8_t>((flags.fin ? 0x01 : 0) | (flags.syn ? 0x02 : 0) |
                                   (flags.rst ? 0x04 : 0) | (flags.psh ? 0x08 : 0) |
                                   (flags.ack ? 0x10 : 0) | (flags.urg ? 0x20 : 0));
}

bool may_be_sent(const TcpFlags& flags) {
  if (flags == TcpFlags{}) return false;
  return !(flags.syn && (flags.fin || flags.rst));
}

std::uint16_t transport_sum(const IpAddress& source, const IpAddress& destination, Bytes segment) {
  return checksum_sum(
      segment, pseudo_header_sum(source, destination, static_cast<std::uint8_t>(IpProtocol::kTcp),
                                 static_cast<std::uint32_t>(segment.size())));
}

// One option, whole; a known kind of an unknown length is passed over like an unknown kind.
void take_option(SynOptions& options, Bytes option) {
  const Bytes value = option.subspan(2);
  switch (option[0]) {
    case kMss:
      if (const auto mss = load<Be16>(value); mss && value.size() == 2) {
        // A zero says nothing, and Linux reads it so.
        options.mss = mss->get() == 0 ? std::nullopt : std::optional(mss->get());
      }
      break;
    case kWindowScale:
      if (value.size() == 1) options.window_scale = std::min(value[0], kMaxWindowScale);
      break;
    case kSackPermitted:
      if (value.empty()) options.has_sack_permitted = true;
      break;
    case kTimestamps:
      if (value.size() == 8) {
        options.timestamps = SynOptions::Timestamps{.value = load<Be32>(value)->get(),
                                                    .echo = load<Be32>(value.subspan(4))->get()};
      }
      break;
    default:
      break;
  }
}

// The options of a SYN in the order in which Linux writes them, every group a multiple of four
// octets.
class OptionWriter {
 public:
  explicit OptionWriter(const SynOptions& options) {
    if (options.mss) {
      put({kMss, 4});
      put16(*options.mss);
    }
    if (options.timestamps) {
      if (options.has_sack_permitted) {
        put({kSackPermitted, 2, kTimestamps, 10});
      } else {
        put({kNoOperation, kNoOperation, kTimestamps, 10});
      }
      put32(options.timestamps->value);
      put32(options.timestamps->echo);
    } else if (options.has_sack_permitted) {
      put({kNoOperation, kNoOperation, kSackPermitted, 2});
    }
    if (options.window_scale) {
      put({kNoOperation, kWindowScale, 3, std::min(*options.window_scale, kMaxWindowScale)});
    }
  }

  [[nodiscard]] Bytes written() const { return Bytes(octets_).first(size_); }

 private:
  void put(std::initializer_list<std::uint8_t> octets) {
    for (const std::uint8_t octet : octets) octets_[size_++] = octet;
  }
  void put16(std::uint16_t value) {
    put({static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)});
  }
  void put32(std::uint32_t value) {
    put16(static_cast<std::uint16_t>(value >> 16));
    put16(static_cast<std::uint16_t>(value));
  }

  std::array<std::uint8_t, 20> octets_{};  // 4 + 12 + 4
  std::size_t size_ = 0;
};

}  // namespace

Parsed<TcpSegment> parse_tcp(const IpPacket& packet, bool is_checksum_trusted) {
  if (packet.protocol != static_cast<std::uint8_t>(IpProtocol::kTcp)) {
    return std::unexpected(Drop::kUnknownTransport);
  }
  if (packet.fragment) return std::unexpected(Drop::kBadTransportLength);
  const std::optional<TcpHeader> header = load<TcpHeader>(packet.payload);
  if (!header) return std::unexpected(Drop::kTruncated);
  const std::size_t header_size = std::size_t{4} * (header->data_offset >> 4U);
  if (header_size < kTcpHeaderSize || header_size > packet.payload.size()) {
    return std::unexpected(Drop::kBadHeaderLength);
  }
  if (!is_checksum_trusted &&
      transport_sum(packet.source, packet.destination, packet.payload) != 0xffff) {
    return std::unexpected(Drop::kBadTransportChecksum);
  }
  const TcpFlags flags = flags_of(header->flags);
  if (!may_be_sent(flags)) return std::unexpected(Drop::kBadTcpFlags);
  if (header->source_port.get() == 0 || header->destination_port.get() == 0) {
    return std::unexpected(Drop::kBadPort);
  }
  return TcpSegment{
      .source_port = header->source_port.get(),
      .destination_port = header->destination_port.get(),
      .seq = Seq(header->seq.get()),
      .ack = Seq(header->ack.get()),
      .flags = flags,
      .window = header->window.get(),
      .options = packet.payload.first(header_size).subspan(kTcpHeaderSize),
      .payload = packet.payload.subspan(header_size),
  };
}

SynOptions parse_syn_options(Bytes options) {
  SynOptions result;
  while (!options.empty() && options[0] != kEndOfList) {
    if (options[0] == kNoOperation) {
      options = options.subspan(1);
      continue;
    }
    if (options.size() < 2 || options[1] < 2 || options[1] > options.size()) break;
    take_option(result, options.first(options[1]));
    options = options.subspan(options[1]);
  }
  return result;
}

std::size_t write_tcp(MutableBytes out, const IpHeaderFields& ip, const TcpHeaderFields& fields,
                      const SynOptions* options) {
  const bool has_options = options != nullptr && fields.flags.syn;
  const OptionWriter writer(has_options ? *options : SynOptions{});
  const std::size_t segment_size = kTcpHeaderSize + writer.written().size();
  const std::size_t ip_size = ip_header_size(ip.source.family());
  if (out.size() < ip_size + segment_size) return 0;
  IpHeaderFields ip_fields = ip;
  ip_fields.protocol = IpProtocol::kTcp;
  if (!write_ip_header(out, ip_fields, segment_size)) return 0;

  TcpHeader header{.source_port = Be16(fields.source_port),
                   .destination_port = Be16(fields.destination_port),
                   .seq = Be32(fields.seq.get()),
                   .ack = Be32(fields.ack.get()),
                   .data_offset = static_cast<std::uint8_t>(segment_size / 4 << 4),
                   .flags = bits_of(fields.flags),
                   .window = Be16(fields.window)};
  const MutableBytes segment = out.subspan(ip_size, segment_size);
  std::ranges::copy(writer.written(), segment.begin() + kTcpHeaderSize);
  (void)store(segment, header);  // fits: the size was asked above
  header.checksum = Be16(checksum_of(transport_sum(ip.source, ip.destination, segment)));
  (void)store(segment, header);
  return ip_size + segment_size;
}

}  // namespace cordon
