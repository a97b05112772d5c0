// Drives the translator's core, with the fakes of tests/world for host and guest, through one kind
// of event again and again, for callgrind to count its instructions: tests/bench/instructions.
//
//     core_replay connection 1000     # a thousand connections, from the SYN to the last FIN
//     core_replay frames guest.pcap   # the frames of a capture on the guest's link, as they came
//
// The fakes cost more than what they surround; whoever reads the profile leaves cordon::world out.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <iterator>

#include <fmt/format.h>

#include "tests/world/dns.h"
#include "tests/world/world.h"

namespace cordon::world {
namespace {

// Servers take turns, and time passes: no limit of new flows to one address is reached.
std::string server(std::size_t i, std::uint16_t port) {
  return fmt::format("198.51.100.{}:{}", 17 + i % 14, port);
}

std::uint16_t guest_port(std::size_t i) { return static_cast<std::uint16_t>(20000 + i % 20000); }

void connection(World& world, std::size_t i) {
  world.guest_connects(server(i, 80), guest_port(i));
  const SocketHandle host = world.host_socket().handle;
  const SocketHandle guest = world.guest_socket().handle;
  world.arrives(guest, 64);
  world.arrives(host, 64);
  world.fin_arrives(host);
  world.fin_arrives(guest);
  world.advance(1ms);
}

void refusal(World& world, std::size_t i) {
  world.guest_sends(Syn().to("10.9.9.9:80").from_port(guest_port(i)).mss(1460));
  world.advance(100ms);
  while (world.next_packet()) {
  }
}

// The guest's kernel leaves the checksum of what it sends to the device, and says so; here it is
// right, and nobody looks.
void datagram_up(World& world, std::size_t /*i*/) {
  static const Octets kFrame =
      Udp(std::string(1200, 'd')).from_port(5000).to("198.51.100.17:4000").frame();
  world.translator.on_frame(world.now, FrameIn{.frame = kFrame, .is_checksum_trusted = true});
}

// As many as wait when the tap is read.
void datagrams_up(World& world, std::size_t /*i*/) {
  static const Octets kFrame =
      Udp(std::string(1200, 'd')).from_port(5000).to("198.51.100.17:4000").frame();
  static const std::vector<FrameIn> kFrames(50, {.frame = kFrame, .is_checksum_trusted = true});
  world.translator.on_frames(world.now, kFrames);
}

void datagram_down(World& world, std::size_t i) {
  static const std::string kPayload(1200, 'd');
  if (i == 0) datagram_up(world, i);
  world.datagram_arrives(world.udp_socket().handle, "198.51.100.17:4000", kPayload);
  while (world.next_packet()) {
  }
}

void train_up(World& world, std::size_t /*i*/) {
  static const std::string kPayload(std::size_t{50} * 1200, 'd');
  world.guest_sends(Udp(kPayload).from_port(5000).to("198.51.100.17:4000").train(1200));
}

void association(World& world, std::size_t i) {
  world.guest_sends(Udp("first").from_port(guest_port(i)).to(server(i, 4000)));
  world.advance(1s);
}

void ping(World& world, std::size_t i) {
  world.guest_sends(Ping().to("198.51.100.17").sequence(static_cast<std::uint16_t>(i)));
}

void question(World& world, std::size_t i) {
  const auto id = static_cast<std::uint16_t>(i);
  world.guest_sends(Udp()
                        .from_port(guest_port(i))
                        .to(Endpoint{.address = resolver_address(Family::kIpv4), .port = 53})
                        .payload(dns_query(id, fmt::format("n{}.example.com", i))));
  const FakeSocket& asked = world.dns_socket();
  if (asked.end == End::kOpen && !asked.sent.empty()) {
    const SentDatagram query = asked.sent.back();
    world.datagram_arrives(asked.handle, query.destination,
                           dns_answer(query.payload, 0, {"198.51.100.17"}));
  }
  while (world.next_packet()) {
  }
  world.advance(1ms);
}

struct Kind {
  const char* name;
  void (*once)(World&, std::size_t);
};
constexpr Kind kKinds[] = {
    {"connection", connection},       {"refusal", refusal},
    {"datagram-up", datagram_up},     {"datagrams-up-50", datagrams_up},
    {"datagram-down", datagram_down}, {"train-up", train_up},
    {"association", association},     {"ping", ping},
    {"question", question},
};

std::uint32_t number_at(const std::vector<char>& bytes, std::size_t at) {
  std::uint32_t value = 0;
  std::memcpy(&value, bytes.data() + at, sizeof value);
  return value;
}

// Ethernet frames of a pcap file in this machine's byte order (pcap-savefile(5)).
std::vector<Octets> read_capture(const char* path) {
  std::ifstream file(path, std::ios::binary);
  const std::vector<char> bytes{std::istreambuf_iterator<char>(file), {}};
  constexpr std::size_t kFileHeader = 24;
  constexpr std::size_t kRecordHeader = 16;
  const bool is_capture = bytes.size() >= kFileHeader && number_at(bytes, 20) == 1 &&
                          (number_at(bytes, 0) == 0xa1b2c3d4 || number_at(bytes, 0) == 0xa1b23c4d);
  if (!is_capture) {
    fmt::print(stderr, "core_replay: {}: not a capture of an Ethernet link\n", path);
    std::exit(2);
  }
  std::vector<Octets> frames;
  for (std::size_t at = kFileHeader; at + kRecordHeader <= bytes.size();) {
    const std::size_t octets = number_at(bytes, at + 8);
    at += kRecordHeader;
    if (at + octets > bytes.size()) break;
    frames.emplace_back(bytes.begin() + static_cast<std::ptrdiff_t>(at),
                        bytes.begin() + static_cast<std::ptrdiff_t>(at + octets));
    at += octets;
  }
  return frames;
}

// The guest of the capture had another address than the world's, and its kernel left checksums to
// the device: an IPv4 or IPv6 packet gets the world's source, its header a right checksum.
void move_into_world(Octets& frame) {
  constexpr std::size_t kIp = 14;
  const std::size_t type = frame.size() > kIp + 40 ? frame[12] * 256U + frame[13] : 0;
  if (type != 0x0800 && type != 0x86dd) return;
  const bool is_v4 = type == 0x0800;
  if (!is_v4 && frame[kIp + 8] == 0xfe) return;  // link-local: the same everywhere
  const auto guest = guest_address(is_v4 ? Family::kIpv4 : Family::kIpv6).octets();
  std::copy(guest.begin(), guest.end(), frame.begin() + kIp + (is_v4 ? 12 : 8));
  if (!is_v4) return;
  const auto header = frame.begin() + kIp;
  header[10] = header[11] = 0;
  const std::uint16_t sum =
      internet_checksum(Octets(header, header + std::ptrdiff_t{4} * (header[0] & 15)));
  header[10] = static_cast<std::uint8_t>(sum >> 8);
  header[11] = static_cast<std::uint8_t>(sum & 255);
}

// The world's hosts take every connection and end it; its guest ends it, too.
void close_at_once(World& world) {
  world.dial_succeeds();
  const SocketHandle host = world.host_socket().handle;
  const SocketHandle guest = world.guest_socket().handle;
  world.fin_arrives(host);
  world.fin_arrives(guest);
}

int replay(const char* path) {
  World world;
  std::vector<Octets> frames = read_capture(path);
  std::size_t dials = 0;
  for (Octets& frame : frames) {
    move_into_world(frame);
    world.translator.on_frame(world.now, FrameIn{.frame = frame, .is_checksum_trusted = true});
    if (world.host.dialled.size() > dials) close_at_once(world);
    dials = world.host.dialled.size();
    world.advance(1ms);
  }
  fmt::print("{} frames, {} dials, {} flows left\n", frames.size(), world.host.dialled.size(),
             world.translator.flows());
  return 0;
}

int run(std::string_view name, std::size_t times) {
  for (const Kind& kind : kKinds) {
    if (kind.name != name) continue;
    World world({.reports_flows = false});
    for (std::size_t i = 0; i < times; ++i) kind.once(world, i);
    fmt::print("{} × {}, {} flows left\n", times, name, world.translator.flows());
    return 0;
  }
  return 2;
}

}  // namespace
}  // namespace cordon::world

int main(int count, char** words) {
  using namespace cordon::world;  // NOLINT: one line of it
  if (count == 3 && std::string_view(words[1]) == "frames") return replay(words[2]);
  if (count == 3 && run(words[1], std::strtoul(words[2], nullptr, 10)) == 0) return 0;
  fmt::print(stderr, "core_replay: say `frames FILE` or a kind and how many times; kinds:");
  for (const Kind& kind : kKinds) fmt::print(stderr, " {}", kind.name);
  fmt::print(stderr, "\n");
  return 2;
}
