#include "netstack/wire/extension_headers.h"

namespace cordon {
namespace {

struct FragmentHeader {
  std::uint8_t next_header = 0;
  std::uint8_t reserved = 0;
  Be16 offset_and_flags;
  Be32 identification;
};
static_assert(sizeof(FragmentHeader) == 8);

constexpr std::uint8_t kPad1 = 0;

bool is_walked(std::uint8_t next_header) {
  switch (static_cast<IpProtocol>(next_header)) {
    case IpProtocol::kHopByHop:
    case IpProtocol::kRouting:
    case IpProtocol::kFragment:
    case IpProtocol::kDestinationOptions:
      return true;
    case IpProtocol::kIcmp:
    case IpProtocol::kTcp:
    case IpProtocol::kUdp:
    case IpProtocol::kEsp:
    case IpProtocol::kAuthentication:
    case IpProtocol::kIcmpv6:
    case IpProtocol::kNoNextHeader:
      return false;
  }
  return false;
}

// Every option that we do not know is passed over or asks for the packet's death, by the two
// highest bits of its type (RFC 8200 section 4.2). We know padding only; the jumbo payload (RFC
// 2675) and the home address (RFC 6275) ask for death.
bool are_options_harmless(Bytes options) {
  while (!options.empty()) {
    if (options[0] == kPad1) {
      options = options.subspan(1);
      continue;
    }
    if (options.size() < 2 || options.size() < std::size_t{2} + options[1]) return false;
    if ((options[0] & 0xc0) != 0) return false;
    options = options.subspan(std::size_t{2} + options[1]);
  }
  return true;
}

// The verdict about a routing header; `header` is whole, at least eight octets.
std::optional<Drop> refuse_routing(Bytes header) {
  const std::uint8_t type = header[2];
  const std::uint8_t segments_left = header[3];
  if (type == 0) return Drop::kSourceRoute;  // RFC 5095 section 3
  if (segments_left != 0) return Drop::kBadExtensionHeader;
  return std::nullopt;
}

class Walk {
 public:
  Walk(Bytes packet, AtFirstFragment mode)
      : packet_(packet), mode_(mode), next_{.protocol = packet[6]} {}

  Parsed<ExtensionChain> run() {
    for (std::size_t count = 0; is_walked(next_.protocol); ++count) {
      if (count == kExtensionHeaderLimit) return std::unexpected(Drop::kBadExtensionHeader);
      if (const std::optional<Drop> drop = step(count == 0)) return std::unexpected(*drop);
      if (is_at_end_) break;
    }
    return next_;
  }

 private:
  std::optional<Drop> step(bool is_first) {
    const Bytes rest = packet_.subspan(next_.end);
    if (rest.size() < 8) return Drop::kBadHeaderLength;
    const auto type = static_cast<IpProtocol>(next_.protocol);
    const std::size_t size = type == IpProtocol::kFragment ? 8 : (std::size_t{rest[1]} + 1) * 8;
    if (size > rest.size()) return Drop::kBadHeaderLength;
    if (next_.end + size - kIpv6HeaderSize > kExtensionOctetLimit) {
      return Drop::kBadExtensionHeader;
    }
    const Bytes header = rest.first(size);
    std::optional<Drop> drop;
    if (type == IpProtocol::kFragment) {
      drop = enter_fragment(header);
    } else if (type == IpProtocol::kRouting) {
      drop = refuse_routing(header);
    } else if ((type == IpProtocol::kHopByHop && !is_first) ||
               !are_options_harmless(header.subspan(2))) {
      drop = Drop::kBadExtensionHeader;
    }
    next_.protocol = header[0];
    next_.next_header_field = next_.end;
    next_.end += size;
    return drop;
  }

  std::optional<Drop> enter_fragment(Bytes bytes) {
    // Two fragment headers in one packet are fragments of fragments, which nobody makes.
    if (has_fragment_header_) return Drop::kBadExtensionHeader;
    has_fragment_header_ = true;
    const std::optional<FragmentHeader> header = load<FragmentHeader>(bytes);
    const std::uint16_t field = header->offset_and_flags.get();
    const Fragment fragment{.identification = header->identification.get(),
                            .offset = field & 0xfff8U,
                            .has_more = (field & 1U) != 0};
    const bool is_atomic = fragment.offset == 0 && !fragment.has_more;
    if (is_atomic) return std::nullopt;
    next_.fragment = fragment;
    is_at_end_ = fragment.offset != 0 || mode_ == AtFirstFragment::kStop;
    return std::nullopt;
  }

  Bytes packet_;
  AtFirstFragment mode_;
  ExtensionChain next_;
  bool has_fragment_header_ = false;
  bool is_at_end_ = false;
};

}  // namespace

Parsed<ExtensionChain> walk_extension_headers(Bytes packet, AtFirstFragment mode) {
  if (packet.size() < kIpv6HeaderSize) return std::unexpected(Drop::kTruncated);
  return Walk(packet, mode).run();
}

}  // namespace cordon
