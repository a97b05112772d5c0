// Nothing on the datapath allocates: with every operator new counted, frames, datagrams, streams,
// refusals, DNS queries and timers pass through a translator that has started.
//
// The fakes of the other tests allocate for their records, so this world has its own, which only
// count.
#include <cerrno>
#include <cstdlib>
#include <new>

#include <gtest/gtest.h>

#include "tests/world/dns.h"
#include "tests/world/world.h"

namespace {

// The one mutable global of the tests: operator new has no other place to count.
std::size_t allocations = 0;  // NOLINT
bool is_counting = false;     // NOLINT

}  // namespace

// Not inlined: next to one another the compiler takes malloc() and delete for a mistake.
[[gnu::noinline]] void* operator new(std::size_t size) {
  if (is_counting) ++allocations;
  void* const memory = std::malloc(size == 0 ? 1 : size);
  if (memory == nullptr) std::abort();
  return memory;
}
[[gnu::noinline]] void* operator new[](std::size_t size) { return operator new(size); }
[[gnu::noinline]] void operator delete(void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete[](void* memory) noexcept { std::free(memory); }
[[gnu::noinline]] void operator delete(void* memory, std::size_t /*size*/) noexcept {
  std::free(memory);
}
[[gnu::noinline]] void operator delete[](void* memory, std::size_t /*size*/) noexcept {
  std::free(memory);
}

namespace cordon::world {
namespace {

class QuietTap final : public Tap {
 public:
  TapSend send(const FrameOut& /*frame*/) override {
    ++sent;
    return TapSend::kSent;
  }
  [[nodiscard]] bool has_udp_trains() const override { return false; }
  std::size_t sent = 0;
};

// Numbers for sockets; every dial succeeds, every socket has one datagram for whoever asks.
class QuietHost final : public HostSockets, public GuestSockets, public Streams {
 public:
  IoResult<SocketHandle> dial(const AllowedDestination& destination, SocketOwner owner) override {
    last_peer = destination.endpoint();
    return open(owner);
  }
  IoStatus dial_result(SocketHandle /*socket*/, const Readiness& /*readiness*/) override {
    return {};
  }
  std::optional<Endpoint> local_endpoint(SocketHandle /*socket*/) override { return std::nullopt; }
  IoResult<AcceptedStream> accept(SocketHandle /*listener*/) override {
    if (!has_client) return std::unexpected(Errno{EAGAIN});
    has_client = false;
    return AcceptedStream{.socket = *open({}), .client = client, .local = client};
  }
  IoStatus own(SocketHandle /*socket*/, SocketOwner owner) override {
    last_owner = owner;
    return {};
  }
  void set_listening(SocketHandle /*socket*/, SocketOwner /*owner*/, bool /*is_on*/) override {}
  IoResult<SocketHandle> open_udp(Family /*family*/, SocketOwner owner) override {
    return open(owner);
  }
  IoResult<SocketHandle> ask(const AllowedDestination& whom, Bytes question,
                             SocketOwner owner) override {
    (void)send({}, whom, {}, std::span(&question, 1));
    return open(owner);
  }
  IoResult<SocketHandle> open_ping(Family /*family*/, SocketOwner owner) override {
    return open(owner);
  }
  IoStatus send(SocketHandle /*socket*/, const AllowedDestination& destination,
                const SendFields& /*fields*/, std::span<const Bytes> parts) override {
    const Bytes payload = parts.front();
    last_peer = destination.endpoint();
    size = std::min(payload.size(), message.size());
    std::copy_n(payload.begin(), size, message.begin());
    return {};
  }
  bool receive(SocketHandle /*socket*/, std::size_t budget, DatagramSink& sink) override {
    if (budget == 0) return false;
    message[2] |= 0x80;  // where it is a DNS query it becomes its own answer
    const std::size_t answer = answers_questions ? add_address() : 0;
    sink.on_datagram(ReceivedDatagram{
        .peer = last_peer, .payload = Bytes(message).first(size + answer), .segment_size = 9});
    return false;
  }
  void receive_errors(SocketHandle /*socket*/, DatagramSink& sink) override {
    sink.on_error(DatagramError{.destination = last_peer, .error = ECONNREFUSED});
  }
  void close(SocketHandle /*socket*/) override { --open_count; }

  IoResult<SocketHandle> adopt(const Adoption& /*adoption*/) override { return open({}); }
  IoResult<SocketHandle> dial(const Endpoint& /*client*/, const Endpoint& /*guest*/,
                              SocketOwner owner) override {
    return open(owner);
  }
  std::uint32_t timestamp_now() override { return 1; }
  void restore_steering() override {}

  Transfer move(SocketHandle /*from*/, SocketHandle /*to*/, PipeHold& /*hold*/,
                const SourceState& /*source*/, std::size_t /*budget*/) override {
    return Transfer{.stop = next_stop, .octets = 100, .taken = 100};
  }
  IoResult<std::size_t> peek(SocketHandle /*socket*/, MutableBytes out) override {
    const std::size_t seen = std::min(out.size(), first_flight.size());
    std::copy_n(first_flight.begin(), seen, out.begin());
    return seen;
  }
  IoResult<std::size_t> receive(SocketHandle /*socket*/, MutableBytes /*out*/) override {
    return std::unexpected(Errno{EAGAIN});
  }
  IoResult<std::size_t> send(SocketHandle /*socket*/, Bytes octets) override {
    return octets.size();
  }
  void keep_alive(SocketHandle /*socket*/, Duration /*silence*/) override {}
  void shutdown_write(SocketHandle /*socket*/) override {}
  void reset(SocketHandle /*socket*/) override { --open_count; }
  void drop_hold(PipeHold& /*hold*/) override {}

  // An A record behind the question, where there is one and nothing else; its octets.
  std::size_t add_address() {
    constexpr std::array<std::uint8_t, 16> kRecord{0xc0, 12, 0, 1, 0,   1,  0,   0,
                                                   0,    60, 0, 4, 198, 51, 100, 7};
    constexpr std::size_t kOpt = 11;  // the query's own, which is taken away
    if (last_owner.kind != OwnerKind::kDns || size < 12 + kOpt || message[11] != 1) return 0;
    message[7] = 1;
    message[11] = 0;
    size -= kOpt;
    std::ranges::copy(kRecord, message.begin() + static_cast<std::ptrdiff_t>(size));
    return kRecord.size();
  }

  bool answers_questions = false;
  SocketOwner last_owner;
  Endpoint last_peer;
  Endpoint client;
  bool has_client = false;
  Transfer::Stop next_stop = Transfer::Stop::kSourceEmpty;
  int open_count = 0;
  std::string_view first_flight;
  std::array<std::uint8_t, 2048> message{};
  std::size_t size = 0;

 private:
  IoResult<SocketHandle> open(SocketOwner owner) {
    last_owner = owner;
    ++open_count;
    return SocketHandle{next_++};
  }
  int next_ = 100;
};

class QuietRoutes final : public RouteQuery {
 public:
  RouteFacts lookup(const IpAddress& /*address*/) override { return {RouteFacts::Type::kUnicast}; }
};

class QuietEvents final : public Events {
 public:
  bool denied(const Denial& /*denial*/) override { return true; }
  void flow(const FlowReport& /*report*/) override {}
  bool introduced(std::uint32_t /*id*/, const Request& /*request*/) override { return true; }
  void resolved(const Resolution& /*resolution*/) override {}
  bool asked(const Question& /*question*/) override { return true; }
  bool listed(const FlowReport& /*report*/) override { return true; }
  void notice(Notice /*notice*/, int /*code*/) override {}
};

TEST(Allocation, IsCounted) {
  allocations = 0;
  is_counting = true;
  ::operator delete(::operator new(1));  // a pair that the compiler may not leave out
  is_counting = false;
  EXPECT_GE(allocations, 1U);
}

// Names are answered, dialled, pinned, refused and counted without a piece of new memory too. The
// upstream of this world answers every question with one address.
TEST(Allocation, NeverHappensForNamesEither) {
  for (const NameSettings::Mode mode : {NameSettings::Mode::kMap, NameSettings::Mode::kPin}) {
    QuietTap tap;
    QuietHost quiet;
    quiet.answers_questions = true;
    QuietRoutes routes;
    FakeEntropy entropy(1);
    QuietEvents events;
    Translator translator(
        make_config({.allow = {"*.wild.example", "udp/*.wild.example:123", "icmp/*.wild.example"},
                     .default_action = DefaultAction::kDeny,
                     .names = {.mode = mode, .wildcard_names_per_minute = 1000000}}),
        TranslatorSeams{.tap = tap,
                        .host = quiet,
                        .guest = quiet,
                        .streams = quiet,
                        .routes = routes,
                        .entropy = entropy,
                        .events = events},
        TranslatorPorts{}, {.flows = 4096, .held = 4096});
    std::vector<Octets> frames;
    for (std::uint16_t i = 0; i < 200; ++i) {
      const std::string name = "n" + std::to_string(i) + ".wild.example";
      const std::string denied = "n" + std::to_string(i) + ".evil.example";
      for (const std::uint16_t type : {1, 28, 65}) {
        frames.push_back(
            Udp().from_port(1000 + i).to("10.0.2.3:53").payload(dns_query(i, name, type)).frame());
      }
      frames.push_back(
          Udp().from_port(1000 + i).to("10.0.2.3:53").payload(dns_query(i, denied)).frame());
      const std::string host =
          mode == NameSettings::Mode::kMap ? "198.18.0." + std::to_string(1 + i) : "198.51.100.7";
      frames.push_back(Syn().from_port(1000 + i).to(host + ":443").mss(1460).frame());
      frames.push_back(Udp("data").from_port(1000 + i).to(host + ":123").frame());
      frames.push_back(Udp("quic").from_port(1000 + i).to(host + ":443").frame());
      frames.push_back(Ping().id(i).to(host).frame());
    }
    Instant now = Instant{} + 1h;
    allocations = 0;
    is_counting = true;
    for (std::size_t i = 0; i < 50000; ++i) {
      translator.on_frame(now, FrameIn{.frame = frames[i % frames.size()]});
      for (int turns = 0; turns < 4; ++turns) {
        translator.on_socket(now, quiet.last_owner,
                             Readiness{.is_readable = true, .is_writable = turns % 2 == 0});
        for (int due = 0; due < 4 && translator.next_deadline() <= now; ++due) {
          translator.on_deadline(now);
        }
      }
      now += 3ms;
    }
    is_counting = false;
    EXPECT_EQ(allocations, 0U);
    EXPECT_GT(tap.sent, 10000U);
  }
}

TEST(Allocation, NeverHappensAfterTheStart) {
  // The policy and the link of an ordinary world.
  QuietTap tap;
  QuietHost quiet;
  QuietRoutes routes;
  FakeEntropy entropy(1);
  QuietEvents events;
  TranslatorPorts ports;
  ports.tcp.push_back({.listener = SocketHandle{1}, .guest_port = 80});
  ports.udp.push_back({.socket = SocketHandle{2}, .guest_port = 53530});
  // Flows to one address are judged by their first flight, refused, and counted in a budget.
  quiet.first_flight = "GET / HTTP/1.1\r\nHost: ok.example\r\n\r\n";
  const WorldOptions options{
      .allow = {"198.51.100.5"}, .deny = {"198.51.100.6"}, .each_rule = [](Rule& rule) {
        rule.needs_tls = rule.action == Action::kAllow;
        if (rule.needs_tls) rule.limits.up_bytes = 1'000'000'000;
      }};
  Translator translator(make_config(options),
                        TranslatorSeams{.tap = tap,
                                        .host = quiet,
                                        .guest = quiet,
                                        .streams = quiet,
                                        .routes = routes,
                                        .entropy = entropy,
                                        .events = events},
                        std::move(ports), {.flows = 4096, .held = 4096});

  std::vector<Octets> frames;
  for (std::uint16_t i = 0; i < 200; ++i) {
    const std::string last = std::to_string(1 + i % 20);
    frames.push_back(Syn().from_port(1000 + i).to("198.51.100." + last + ":80").mss(1460).frame());
    frames.push_back(Syn().from_port(1000 + i).to("[2001:db8::" + last + "]:53").frame());
    frames.push_back(Udp("data").from_port(1000 + i).to("198.51.100." + last + ":4000").frame());
    frames.push_back(Udp()
                         .from_port(1000 + i)
                         .to("198.51.100.9:53")
                         .payload(dns_query(i, "example.org"))
                         .frame());
    frames.push_back(
        Udp().from_port(1000 + i).to("10.0.2.3:53").payload(dns_query(i, "localhost")).frame());
    frames.push_back(Ping().id(i).to("198.51.100." + last).frame());
    frames.push_back(Ping().to("10.0.2.1").frame());
    frames.push_back(Transport(132).to("198.51.100.9").frame());
    for (Octets& fragment : Udp(std::string(3000, 'f')).to("198.51.100.7:9").fragments(1480, i)) {
      if (i % 3 != 0 || fragment.size() < 1000) frames.push_back(std::move(fragment));
    }
  }
  const std::array clients{endpoint("198.51.100.200:5000"), endpoint("127.0.0.1:5001")};

  Instant now = Instant{} + 1h;
  allocations = 0;
  is_counting = true;
  for (std::size_t i = 0; i < 100000; ++i) {
    const Octets& frame = frames[i % frames.size()];
    translator.on_frame(now, FrameIn{.frame = frame});
    // The socket that was opened last has an event of some kind.
    quiet.next_stop = static_cast<Transfer::Stop>(i % 6);
    translator.on_socket(
        now, quiet.last_owner,
        Readiness{.is_readable = i % 2 == 0, .is_writable = i % 3 == 0, .has_error = i % 31 == 0});
    if (i % 10 == 0) {
      quiet.client = clients[i / 10 % clients.size()];
      quiet.has_client = true;
      translator.on_socket(now, {.kind = OwnerKind::kListener}, Readiness{.is_readable = true});
      quiet.last_peer = quiet.client;
      translator.on_socket(now, {.kind = OwnerKind::kPublished}, Readiness{.is_readable = true});
    }
    if (i % 5000 == 0) translator.on_host_change(now, true);
    now += 3ms;
    for (int turns = 0; turns < 4 && translator.next_deadline() <= now; ++turns) {
      translator.on_deadline(now);
    }
  }
  is_counting = false;
  EXPECT_EQ(allocations, 0U);
  EXPECT_GT(tap.sent, 10000U);
  EXPECT_GT(translator.flows(), 100U);
}

}  // namespace
}  // namespace cordon::world
