// Fragments and time in any order, against a model that keeps every fragment by itself and has no
// bounds.
//
// Input, repeated: one octet of choices (bits 0-1: IPv4, IPv6, time passes, IPv4 with a wide
// identification; bit 2: more fragments; bits 3-5: what the fragment carries; bits 6-7: source),
// the identification, the offset in units of eight (two octets), the size (two octets). For time:
// one octet, seconds.
//
// Claims: the same verdict as the model's for every fragment; a datagram that completes has the
// octets that were sent; expiry reports exactly the first fragments that waited; nothing is held at
// the end; bounds at every step. Where the bounds make the oldest give way the model is left, the
// bounds stay.
#include <algorithm>
#include <array>
#include <map>
#include <optional>
#include <string>

#include "netstack/flow/limits.h"
#include "netstack/flow/reassembly.h"
#include "netstack/flow/timeouts.h"
#include "netstack/wire/checksum.h"
#include "tests/fuzz/fuzz_support.h"

namespace cordon {
namespace {

using fuzz::check;

constexpr std::size_t kMaxSteps = 512;
constexpr std::size_t kMaxOctets = 4 * 1024 * 1024;  // of all fragments of a run, so that it ends

enum Content : std::uint8_t {
  kUdp = 0,
  kTcp = 1,
  kIcmp = 2,
  kSolicitation = 3,      // IPv6: Neighbour Discovery, which must not be in fragments
  kOptionsThenUdp = 4,    // IPv6: destination options behind the fragment header
  kOptionsBeforeUdp = 5,  // IPv6: destination options in front of it
  kUnknown = 6,
  kLongHeader = 7,  // IPv4: with options
};

struct Piece {
  bool is_v4 = true;
  std::uint8_t content = kUdp;
  std::uint8_t source = 0;
  std::uint32_t identification = 0;
  std::size_t offset = 0;
  bool has_more = false;
  std::vector<std::uint8_t> data;
  std::vector<std::uint8_t> packet;  // with headers
  std::size_t counted = 0;           // octets of its headers that the length field counts
};

std::uint8_t protocol_of(const Piece& piece) {
  switch (piece.content) {
    case kTcp:
      return 6;
    case kIcmp:
    case kSolicitation:
      return piece.is_v4 ? 1 : 58;
    case kUnknown:
      return 132;
    default:
      return 17;
  }
}

// What a datagram carries at each place, made once: most of a run's time went into making it.
const std::vector<std::uint8_t>& pattern() {
  static const std::vector<std::uint8_t> octets = [] {
    std::vector<std::uint8_t> made(3 * 65536);
    for (std::size_t i = 0; i < made.size(); ++i) {
      made[i] = static_cast<std::uint8_t>(i * 31 + (i >> 8));
    }
    return made;
  }();
  return octets;
}

void fill_data(Piece& piece, std::size_t size) {
  // Another identification starts elsewhere, so that octets of two datagrams cannot be confused.
  const auto from = pattern().begin() + static_cast<std::ptrdiff_t>(piece.offset) +
                    static_cast<std::ptrdiff_t>(piece.identification & 0xffff);
  piece.data.assign(from, from + static_cast<std::ptrdiff_t>(size));
  if (piece.is_v4 || piece.offset != 0 || size == 0) return;
  if (piece.content == kIcmp) piece.data[0] = 128;
  if (piece.content == kSolicitation) piece.data[0] = 135;
  if (piece.content == kOptionsThenUdp) {
    constexpr std::array<std::uint8_t, 8> kOptions{17, 0, 1, 4, 0, 0, 0, 0};
    std::copy_n(kOptions.begin(), std::min<std::size_t>(size, 8), piece.data.begin());
  }
}

void put16(std::vector<std::uint8_t>& octets, std::size_t at, std::size_t value) {
  octets[at] = static_cast<std::uint8_t>(value >> 8);
  octets[at + 1] = static_cast<std::uint8_t>(value);
}

void wrap_v4(Piece& piece) {
  const std::size_t header = piece.content == kLongHeader ? 28 : 20;
  piece.counted = header;
  std::vector<std::uint8_t>& packet = piece.packet;
  packet.assign(header, 1);  // options: no operation
  packet[0] = static_cast<std::uint8_t>(0x40 | header / 4);
  packet[1] = 0;
  put16(packet, 2, header + piece.data.size());
  put16(packet, 4, piece.identification);
  put16(packet, 6, (piece.has_more ? 0x2000U : 0U) | piece.offset / 8);
  packet[8] = 64;
  packet[9] = protocol_of(piece);
  put16(packet, 10, 0);
  const std::array<std::uint8_t, 8> addresses{198, 51, 100, piece.source, 198, 51, 100, 99};
  std::copy(addresses.begin(), addresses.end(), packet.begin() + 12);
  put16(packet, 10, checksum_of(checksum_sum(packet)));
}

void wrap_v6(Piece& piece) {
  const bool has_options = piece.content == kOptionsBeforeUdp;
  piece.counted = has_options ? 8 : 0;
  std::vector<std::uint8_t>& packet = piece.packet;
  packet.assign(40, 0);
  packet[0] = 0x60;
  put16(packet, 4, piece.counted + 8 + piece.data.size());
  packet[6] = has_options ? 60 : 44;
  packet[7] = 64;
  packet[8] = packet[24] = 0x20;
  packet[23] = piece.source;
  packet[39] = 99;
  if (has_options) packet.insert(packet.end(), {44, 0, 1, 4, 0, 0, 0, 0});
  const std::uint8_t next = piece.content == kOptionsThenUdp ? 60 : protocol_of(piece);
  packet.insert(packet.end(), {next, 0, 0, 0, 0, 0, 0, 0});
  put16(packet, packet.size() - 6, piece.offset | (piece.has_more ? 1U : 0U));
  put16(packet, packet.size() - 2, piece.identification);
}

Piece read_piece(fuzz::Input& input, std::uint8_t choices) {
  Piece piece;
  const unsigned kind = choices & 3U;
  piece.is_v4 = kind != 1;
  piece.has_more = (choices & 4U) != 0;
  piece.content = (choices >> 3U) & 7U;
  piece.source = static_cast<std::uint8_t>(choices >> 6U);
  piece.identification = kind == 3 ? input.word() : input.octet() & 7U;
  piece.offset = (input.word() & 0x1fffU) * std::size_t{8};
  const std::size_t headers = 60;
  fill_data(piece, std::min<std::size_t>(input.word(), 65535 - headers));
  if (piece.is_v4) {
    wrap_v4(piece);
  } else {
    wrap_v6(piece);
  }
  piece.packet.insert(piece.packet.end(), piece.data.begin(), piece.data.end());
  piece.packet.shrink_to_fit();
  return piece;
}

// --- The model

struct Datagram {
  bool is_dead = false;
  Instant created{};
  std::vector<Piece> pieces;
};

class Model {
 public:
  // What the reassembler must say: nullopt for a datagram that is complete.
  std::optional<Drop> insert(Instant now, const Piece& piece) {
    const auto [entry, is_new] = datagrams_.try_emplace(key_of(piece));
    Datagram& datagram = entry->second;
    if (is_new) datagram.created = now;
    if (now >= datagram.created + kReassemblyTimeout) return Drop::kFragmentTimeout;
    if (datagram.is_dead) return Drop::kFragmentBad;
    if (const std::optional<Drop> drop = judge(datagram, piece)) {
      datagram = Datagram{.is_dead = true, .created = datagram.created, .pieces = {}};
      return drop;
    }
    datagram.pieces.push_back(piece);
    const std::optional<std::size_t> total = total_of(datagram);
    std::size_t received = 0;
    for (const Piece& each : datagram.pieces) received += each.data.size();
    if (!total || received != *total) return Drop::kFragmentHeld;
    return finish(datagram, *total);
  }

  // The octets of the datagram that the last insert completed, and forgets it.
  std::vector<std::uint8_t> take(const Piece& piece) {
    std::vector<std::uint8_t> data;
    Datagram& datagram = datagrams_[key_of(piece)];
    for (const Piece& each : datagram.pieces) {
      data.resize(std::max(data.size(), each.offset + each.data.size()));
      std::copy(each.data.begin(), each.data.end(),
                data.begin() + static_cast<std::ptrdiff_t>(each.offset));
    }
    datagrams_.erase(key_of(piece));
    return data;
  }

  const Piece& first_of(const Piece& piece) {
    const std::vector<Piece>& pieces = datagrams_[key_of(piece)].pieces;
    return *std::ranges::find_if(pieces, [](const Piece& each) { return each.offset == 0; });
  }

  // The first fragments that are to be reported, and how many datagrams timed out alive.
  std::size_t expire(Instant now, std::vector<std::vector<std::uint8_t>>& reports) {
    std::size_t alive = 0;
    std::erase_if(datagrams_, [&](const auto& entry) {
      const Datagram& datagram = entry.second;
      if (now < datagram.created + kReassemblyTimeout) return false;
      alive += datagram.is_dead ? 0 : 1;
      for (const Piece& each : datagram.pieces) {
        if (each.offset == 0) reports.push_back(each.packet);
      }
      return true;
    });
    return alive;
  }

  [[nodiscard]] std::size_t size() const { return datagrams_.size(); }
  [[nodiscard]] bool has(const Piece& piece) const { return datagrams_.contains(key_of(piece)); }

 private:
  static std::string key_of(const Piece& piece) {
    return std::to_string(piece.is_v4 ? 4 + 256 * protocol_of(piece) : 6) + ' ' +
           std::to_string(piece.source) + ' ' + std::to_string(piece.identification);
  }

  static std::optional<std::size_t> total_of(const Datagram& datagram) {
    for (const Piece& each : datagram.pieces) {
      if (!each.has_more) return each.offset + each.data.size();
    }
    return std::nullopt;
  }

  static bool is_first_sound(const Piece& piece) {
    const std::size_t size = piece.data.size();
    if (piece.content == kTcp) return size >= 20;
    if (piece.content == kUnknown) return true;
    if (piece.is_v4) return size >= 8;
    if (piece.content == kOptionsThenUdp) return size >= 16;
    return size >= 8 && piece.content != kSolicitation;
  }

  static std::optional<Drop> judge(const Datagram& datagram, const Piece& piece) {
    const std::size_t end = piece.offset + piece.data.size();
    if (piece.data.empty() || (piece.has_more && piece.data.size() % 8 != 0) ||
        end + piece.counted > 65535 || (piece.offset == 0 && !is_first_sound(piece))) {
      return Drop::kFragmentBad;
    }
    for (const Piece& each : datagram.pieces) {
      if (each.offset < end && piece.offset < each.offset + each.data.size()) {
        return Drop::kFragmentOverlap;
      }
    }
    const std::optional<std::size_t> total = total_of(datagram);
    if (total && (!piece.has_more || end > *total)) return Drop::kFragmentBad;
    for (const Piece& each : datagram.pieces) {
      if (!piece.has_more && each.offset >= end) return Drop::kFragmentBad;
    }
    if (datagram.pieces.size() == kReassemblyFragments) return Drop::kFragmentNoRoom;
    return std::nullopt;
  }

  static std::optional<Drop> finish(Datagram& datagram, std::size_t total) {
    for (const Piece& each : datagram.pieces) {
      if (each.offset != 0 || each.counted + total <= 65535) continue;
      datagram = Datagram{.is_dead = true, .created = datagram.created, .pieces = {}};
      return Drop::kFragmentBad;
    }
    return std::nullopt;
  }

  std::map<std::string, Datagram> datagrams_;
};

// --- Both side by side

class Run {
 public:
  explicit Run(Reassembler& reassembler)
      : reassembler_(reassembler), evictions_before_(reassembler.evictions()) {}

  void play(fuzz::Input& input) {
    std::size_t octets = 0;
    for (std::size_t step = 0; step < kMaxSteps && octets < kMaxOctets && !input.is_empty();
         ++step) {
      const std::uint8_t choices = input.octet();
      if ((choices & 3U) == 2) {
        now_ += std::chrono::seconds(input.octet());
        expire();
      } else {
        const Piece piece = read_piece(input, choices);
        octets += piece.packet.size();
        insert(piece);
      }
      check_bounds();
    }
    now_ += std::chrono::hours(1);
    expire();
    check(reassembler_.datagrams() == 0 && reassembler_.bytes_held() == 0, "all is given back");
    check(reassembler_.next_deadline() == kNever, "nothing is waited for");
  }

 private:
  void insert(const Piece& piece) {
    const Parsed<IpPacket> packet =
        piece.is_v4 ? parse_ipv4(piece.packet) : parse_ipv6(piece.packet);
    // An empty IPv6 fragment is a packet still; offset 0 without more to come is none (RFC 6946).
    if (!packet || !packet->fragment) return;
    if (!model_.has(piece) && model_.size() == kReassemblyDatagrams) follows_model_ = false;
    const Parsed<IpPacket> whole = reassembler_.insert(now_, *packet);
    if (reassembler_.evictions() != evictions_before_) follows_model_ = false;
    if (whole) check(!whole->fragment, "what is whole is no fragment");
    if (!follows_model_) return;
    const std::optional<Drop> expected = model_.insert(now_, piece);
    check(whole.has_value() == !expected.has_value(), "complete when the model is");
    if (expected) {
      check(whole.error() == *expected, "the model's reason");
      return;
    }
    check_whole(piece, *whole);
  }

  void check_whole(const Piece& piece, const IpPacket& whole) {
    const Piece first = model_.first_of(piece);
    const std::vector<std::uint8_t> data = model_.take(piece);
    check(
        whole.packet.size() >= data.size() && fuzz::is_equal(whole.packet.last(data.size()), data),
        "the octets that were sent");
    check(whole.packet.size() == (first.is_v4 ? 0U : 40U) + first.counted + data.size(), "size");
    const bool has_options_behind = !first.is_v4 && first.content == kOptionsThenUdp;
    check(whole.payload.size() == data.size() - (has_options_behind ? 8U : 0U), "payload");
    check(whole.protocol == protocol_of(first), "protocol");
  }

  void expire() {
    std::vector<std::vector<std::uint8_t>> reports;
    const std::size_t count = reassembler_.expire(now_, [&](Bytes first_fragment) {
      reports.emplace_back(first_fragment.begin(), first_fragment.end());
    });
    if (!follows_model_) return;
    std::vector<std::vector<std::uint8_t>> expected;
    check(count == model_.expire(now_, expected), "as many timed out");
    std::ranges::sort(reports);
    std::ranges::sort(expected);
    check(reports == expected, "the first fragments as they came");
  }

  void check_bounds() {
    check(reassembler_.bytes_held() <= kReassemblyBytes, "kReassemblyBytes");
    check(reassembler_.datagrams() <= kReassemblyDatagrams, "kReassemblyDatagrams");
    check((reassembler_.next_deadline() == kNever) == (reassembler_.datagrams() == 0), "deadline");
    if (follows_model_) check(reassembler_.datagrams() == model_.size(), "as many are held");
  }

  Instant now_{};
  Reassembler& reassembler_;
  std::uint64_t evictions_before_;
  Model model_;
  bool follows_model_ = true;
};

}  // namespace
}  // namespace cordon

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  cordon::fuzz::Input input(data, size);
  // One for all runs, because a megabyte a run is what would take the time; each run ends with it
  // empty.
  static cordon::Reassembler reassembler;
  cordon::Run(reassembler).play(input);
  return 0;
}
