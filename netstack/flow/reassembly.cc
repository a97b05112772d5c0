#include "netstack/flow/reassembly.h"

#include <algorithm>
#include <array>
#include <cstring>

#include "netstack/flow/limits.h"
#include "netstack/flow/timeouts.h"
#include "netstack/wire/checksum.h"
#include "netstack/wire/extension_headers.h"

namespace cordon {
namespace {

static_assert(kMaxExtensionHeaders == kExtensionHeaderLimit);
static_assert(kMaxExtensionOctets == kExtensionOctetLimit);

constexpr std::size_t kMaxData = 65535;  // of one datagram behind its header
constexpr std::size_t kMaxHeader = kIpv6HeaderSize + kMaxExtensionOctets;
constexpr std::size_t kFragmentHeaderSize = 8;

// Octets of a pool page: a fragment of an ordinary MTU touches two at most, a tiny one wastes one.
constexpr std::size_t kPageSize = 2048;
constexpr std::size_t kPagesPerDatagram = (kMaxData + kPageSize - 1) / kPageSize;

using PageIndex = std::uint16_t;
constexpr PageIndex kNoPage = 0xffff;

// RFC 791 section 3.2 names four fields, RFC 8200 section 4.5 three: over IPv6 the protocol is that
// of the first fragment, and stays 0 here.
struct Key {
  IpAddress source;
  IpAddress destination;
  std::uint32_t identification = 0;
  std::uint8_t protocol = 0;
  friend bool operator==(const Key&, const Key&) = default;
};

// Octets [begin, end) of the datagram that have come.
struct Range {
  std::uint16_t begin = 0;
  std::uint16_t end = 0;
};

struct Slot {
  bool is_used = false;
  // Killed by a bad or overlapping fragment. The slot stays so that later pieces find it and die
  // too, or the pieces behind an overlap could make a datagram that passed no check.
  bool is_dead = false;
  bool has_total = false;
  std::uint16_t total = 0;  // octets behind the header, known from the last fragment
  std::uint16_t received = 0;
  std::uint8_t range_count = 0;
  std::uint16_t header_size = 0;  // 0: the first fragment has not come
  std::uint16_t page_count = 0;
  Key key;
  Instant created{};
  std::uint64_t order = 0;  // of creation: two may be of one instant
  std::array<Range, kReassemblyFragments> ranges{};
  std::array<PageIndex, kPagesPerDatagram> pages{};
  std::array<std::uint8_t, kMaxHeader> header{};  // of the first fragment, as it came
};

constexpr std::size_t kAssembledSize = kMaxHeader + kMaxData;
// Slots, the place where a datagram is put together and the pages: all of it within
// kReassemblyBytes. A page costs its octets and its place in the list of free ones.
constexpr std::size_t kPages =
    (kReassemblyBytes - kReassemblyDatagrams * sizeof(Slot) - kAssembledSize - 256) /
    (kPageSize + sizeof(PageIndex));
static_assert(kPages > 2 * kPagesPerDatagram && kPages < kNoPage);

Key key_of(const IpPacket& packet) {
  return Key{.source = packet.source,
             .destination = packet.destination,
             .identification = packet.fragment->identification,
             .protocol = packet.source.is_v4() ? packet.protocol : std::uint8_t{0}};
}

// The header in front of a fragment's share; over IPv6 the fragment header is its last part.
Bytes header_of(const IpPacket& packet) {
  return packet.packet.first(packet.packet.size() - packet.payload.size());
}

// How many octets of the 65,535 that a datagram's length field counts are not data: over IPv4 the
// header, over IPv6 the extension headers that stay (RFC 8200 section 4.5).
std::size_t counted_header(Family family, std::size_t header_size) {
  return family == Family::kIpv4 ? header_size
                                 : header_size - kIpv6HeaderSize - kFragmentHeaderSize;
}

bool is_header_plausible(const IpPacket& packet) {
  const std::size_t header_size = packet.packet.size() - packet.payload.size();
  const std::size_t smallest =
      packet.source.is_v4() ? kIpv4HeaderSize : kIpv6HeaderSize + kFragmentHeaderSize;
  return packet.packet.size() >= packet.payload.size() && header_size >= smallest &&
         header_size <= kMaxHeader;
}

std::size_t least_transport_header(std::uint8_t protocol) {
  switch (static_cast<IpProtocol>(protocol)) {
    case IpProtocol::kTcp:
      return 20;
    case IpProtocol::kUdp:
    case IpProtocol::kIcmp:
    case IpProtocol::kIcmpv6:
      return 8;
    case IpProtocol::kHopByHop:
    case IpProtocol::kRouting:
    case IpProtocol::kFragment:
    case IpProtocol::kEsp:
    case IpProtocol::kAuthentication:
    case IpProtocol::kNoNextHeader:
    case IpProtocol::kDestinationOptions:
      break;
  }
  return 0;
}

bool is_neighbour_discovery(std::uint8_t protocol, Bytes transport) {
  return protocol == static_cast<std::uint8_t>(IpProtocol::kIcmpv6) && transport[0] >= 133 &&
         transport[0] <= 137;
}

// RFC 7112: the first fragment holds every header up to the transport's, and that one whole. RFC
// 6980: Neighbour Discovery does not come in fragments.
bool is_first_fragment_sound(const IpPacket& packet) {
  if (packet.source.is_v4()) {
    return packet.payload.size() >= least_transport_header(packet.protocol);
  }
  const Parsed<ExtensionChain> chain =
      walk_extension_headers(packet.packet, AtFirstFragment::kWalkOn);
  if (!chain) return false;
  const Bytes transport = packet.packet.subspan(chain->end);
  if (transport.size() < least_transport_header(chain->protocol)) return false;
  return !is_neighbour_discovery(chain->protocol, transport);
}

// What one fragment says by itself, whatever else has come.
bool is_fragment_sound(const IpPacket& packet) {
  const Fragment& fragment = *packet.fragment;
  if (!is_header_plausible(packet) || packet.payload.empty()) return false;
  if (fragment.has_more && packet.payload.size() % 8 != 0) return false;
  const std::size_t end = std::size_t{fragment.offset} + packet.payload.size();
  const std::size_t counted =
      counted_header(packet.source.family(), packet.packet.size() - packet.payload.size());
  if (end + counted > kMaxIpPacket) return false;
  return fragment.offset != 0 || is_first_fragment_sound(packet);
}

void put16(MutableBytes out, std::size_t value) {
  (void)store(out, Be16(static_cast<std::uint16_t>(value)));  // callers pass a header's field
}

// Makes the header of the first fragment that of a packet which was never cut; its size afterwards.
std::size_t rewrite_v4(MutableBytes header, std::size_t data) {
  constexpr std::uint8_t kDontFragment = 0x40;
  put16(header.subspan(2), header.size() + data);
  header[6] &= kDontFragment;
  header[7] = 0;
  put16(header.subspan(10), 0);
  put16(header.subspan(10), checksum_of(checksum_sum(header)));
  return header.size();
}

// The fragment header is the last of `header`; the field that named it gets what it named.
std::size_t rewrite_v6(MutableBytes header, std::size_t data) {
  const std::size_t size = header.size() - kFragmentHeaderSize;
  std::size_t field = 6;
  for (std::size_t next = kIpv6HeaderSize; next < size;) {
    field = next;
    next += (std::size_t{header[next + 1]} + 1) * 8;
  }
  header[field] = header[size];
  put16(header.subspan(4), size - kIpv6HeaderSize + data);
  return size;
}

}  // namespace

struct Reassembler::State {
  std::array<Slot, kReassemblyDatagrams> slots{};
  std::array<PageIndex, kPages> free_pages{};
  std::size_t free_count = 0;
  std::size_t used_slots = 0;
  std::uint64_t next_order = 0;
  std::uint64_t evictions = 0;
  std::array<std::array<std::uint8_t, kPageSize>, kPages> pages{};
  std::array<std::uint8_t, kAssembledSize> assembled{};

  State() {
    for (; free_count < kPages; ++free_count) {
      free_pages[free_count] = static_cast<PageIndex>(free_count);
    }
  }

  void release_pages(Slot& slot) {
    for (PageIndex& page : slot.pages) {
      if (page == kNoPage) continue;
      free_pages[free_count++] = page;
      page = kNoPage;
    }
    slot.page_count = 0;
  }

  void release(Slot& slot) {
    release_pages(slot);
    slot.is_used = false;
    --used_slots;
  }

  void kill(Slot& slot) {
    release_pages(slot);
    slot.is_dead = true;
    slot.header_size = 0;
    slot.range_count = 0;
  }

  Slot* find(const Key& key) {
    for (Slot& slot : slots) {
      if (slot.is_used && slot.key == key) return &slot;
    }
    return nullptr;
  }

  // The oldest other than `spared`, among those with pages where only pages help.
  Slot* oldest(const Slot* spared, bool needs_pages) {
    Slot* found = nullptr;
    for (Slot& slot : slots) {
      if (!slot.is_used || &slot == spared || (needs_pages && slot.page_count == 0)) continue;
      if (found == nullptr || slot.order < found->order) found = &slot;
    }
    return found;
  }

  void evict(Slot& slot) {
    if (!slot.is_dead) ++evictions;
    release(slot);
  }

  Slot& open(Instant now, const Key& key) {
    if (used_slots == slots.size()) evict(*oldest(nullptr, false));
    Slot& slot = *std::ranges::find_if(slots, [](const Slot& each) { return !each.is_used; });
    slot.is_used = true;
    slot.is_dead = false;
    slot.has_total = false;
    slot.total = 0;
    slot.received = 0;
    slot.range_count = 0;
    slot.header_size = 0;
    slot.page_count = 0;
    slot.key = key;
    slot.created = now;
    slot.order = next_order++;
    slot.pages.fill(kNoPage);
    ++used_slots;
    return slot;
  }

  PageIndex take_page(const Slot& owner) {
    if (free_count == 0) evict(*oldest(&owner, true));
    return free_pages[--free_count];
  }

  // Copies between the pages of `slot` and `outside`; the pages are there.
  void write_data(Slot& slot, std::size_t offset, Bytes data) {
    while (!data.empty()) {
      PageIndex& page = slot.pages[offset / kPageSize];
      if (page == kNoPage) {
        page = take_page(slot);
        ++slot.page_count;
      }
      const std::size_t within = offset % kPageSize;
      const std::size_t size = std::min(data.size(), kPageSize - within);
      std::memcpy(pages[page].data() + within, data.data(), size);
      data = data.subspan(size);
      offset += size;
    }
  }

  void read_data(const Slot& slot, MutableBytes out) const {
    for (std::size_t offset = 0; offset < out.size(); offset += kPageSize) {
      const std::size_t size = std::min(out.size() - offset, kPageSize);
      std::memcpy(out.data() + offset, pages[slot.pages[offset / kPageSize]].data(), size);
    }
  }

  std::optional<Drop> take(Slot& slot, const IpPacket& packet);
  Parsed<IpPacket> assemble(Slot& slot);
};

namespace {

// Where the range belongs among those that came, or nullopt where it overlaps one of them.
std::optional<std::size_t> place_of(const Slot& slot, Range range) {
  std::size_t place = slot.range_count;
  while (place > 0 && slot.ranges[place - 1].begin >= range.begin) --place;
  const bool overlaps_before = place > 0 && slot.ranges[place - 1].end > range.begin;
  const bool overlaps_behind = place < slot.range_count && slot.ranges[place].begin < range.end;
  if (overlaps_before || overlaps_behind) return std::nullopt;
  return place;
}

// Whether the end of the datagram stays where the last fragment put it.
bool is_end_consistent(const Slot& slot, Range range, bool has_more) {
  if (slot.has_total) return has_more && range.end <= slot.total;
  return has_more || slot.range_count == 0 || slot.ranges[slot.range_count - 1U].end <= range.end;
}

}  // namespace

// Adds a sound fragment; the reason where the datagram must die instead.
std::optional<Drop> Reassembler::State::take(Slot& slot, const IpPacket& packet) {
  const Fragment& fragment = *packet.fragment;
  const Range range{.begin = static_cast<std::uint16_t>(fragment.offset),
                    .end = static_cast<std::uint16_t>(fragment.offset + packet.payload.size())};
  const std::optional<std::size_t> place = place_of(slot, range);
  if (!place) return Drop::kFragmentOverlap;
  if (!is_end_consistent(slot, range, fragment.has_more)) return Drop::kFragmentBad;
  if (slot.range_count == kReassemblyFragments) return Drop::kFragmentNoRoom;

  const auto at = slot.ranges.begin() + static_cast<std::ptrdiff_t>(*place);
  std::copy_backward(at, slot.ranges.begin() + slot.range_count,
                     slot.ranges.begin() + slot.range_count + 1);
  *at = range;
  ++slot.range_count;
  slot.received = static_cast<std::uint16_t>(slot.received + packet.payload.size());
  if (!fragment.has_more) {
    slot.has_total = true;
    slot.total = range.end;
  }
  if (fragment.offset == 0) {
    const Bytes header = header_of(packet);
    std::ranges::copy(header, slot.header.begin());
    slot.header_size = static_cast<std::uint16_t>(header.size());
  }
  write_data(slot, fragment.offset, packet.payload);
  return std::nullopt;
}

// Every octet is there: puts the packet together, and reads it as if it had come whole. Frees the
// slot.
Parsed<IpPacket> Reassembler::State::assemble(Slot& slot) {
  const Family family = slot.key.source.family();
  const std::size_t data = slot.total;
  const MutableBytes header = MutableBytes(assembled).first(slot.header_size);
  std::copy_n(slot.header.begin(), slot.header_size, header.begin());
  const bool is_too_long = counted_header(family, slot.header_size) + data > kMaxIpPacket;
  if (is_too_long) {
    kill(slot);
    return std::unexpected(Drop::kFragmentBad);
  }
  const std::size_t header_size =
      family == Family::kIpv4 ? rewrite_v4(header, data) : rewrite_v6(header, data);
  read_data(slot, MutableBytes(assembled).subspan(header_size, data));
  release(slot);
  const Bytes whole = Bytes(assembled).first(header_size + data);
  return family == Family::kIpv4 ? parse_ipv4(whole) : parse_ipv6(whole);
}

Reassembler::Reassembler() : state_(std::make_unique<State>()) {
  static_assert(sizeof(State) <= kReassemblyBytes);
}

Reassembler::~Reassembler() = default;

Parsed<IpPacket> Reassembler::insert(Instant now, const IpPacket& packet) {
  if (!packet.fragment) return packet;
  const Key key = key_of(packet);
  Slot* found = state_->find(key);
  if (found != nullptr && now >= found->created + kReassemblyTimeout) {
    // expire() comes in the same turn and reports it; nothing more is added to what has timed out.
    return std::unexpected(Drop::kFragmentTimeout);
  }
  Slot& slot = found != nullptr ? *found : state_->open(now, key);
  std::optional<Drop> drop;
  if (slot.is_dead || !is_fragment_sound(packet)) {
    drop = Drop::kFragmentBad;
  } else {
    drop = state_->take(slot, packet);
  }
  if (drop) {
    if (!slot.is_dead) state_->kill(slot);
    return std::unexpected(*drop);
  }
  // Ranges do not overlap, so that the sum of their lengths says whether they are complete.
  if (!slot.has_total || slot.received != slot.total) return std::unexpected(Drop::kFragmentHeld);
  return state_->assemble(slot);
}

std::size_t Reassembler::expire(Instant now,
                                const std::function<void(Bytes first_fragment)>& report) {
  std::size_t timed_out = 0;
  for (Slot& slot : state_->slots) {
    if (!slot.is_used || now < slot.created + kReassemblyTimeout) continue;
    if (!slot.is_dead) ++timed_out;
    const std::size_t header_size = slot.header_size;
    if (header_size == 0) {
      state_->release(slot);
      continue;
    }
    // The first range begins at 0: that is what a stored header means.
    const std::size_t share = slot.ranges[0].end;
    std::copy_n(slot.header.begin(), header_size, state_->assembled.begin());
    state_->read_data(slot, MutableBytes(state_->assembled).subspan(header_size, share));
    state_->release(slot);
    if (report) report(Bytes(state_->assembled).first(header_size + share));
  }
  return timed_out;
}

Instant Reassembler::next_deadline() const {
  Instant earliest = kNever;
  if (state_->used_slots == 0) return earliest;
  for (const Slot& slot : state_->slots) {
    if (slot.is_used) earliest = std::min(earliest, slot.created + kReassemblyTimeout);
  }
  return earliest;
}

std::size_t Reassembler::datagrams() const { return state_->used_slots; }

std::size_t Reassembler::bytes_held() const { return (kPages - state_->free_count) * kPageSize; }

std::uint64_t Reassembler::evictions() const { return state_->evictions; }

}  // namespace cordon
