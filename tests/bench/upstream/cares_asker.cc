// c-ares at its best for this job:
//
//   sockets     ares_query() and ares_process_fd() over an epoll set that is kept by
//               ARES_OPT_SOCK_STATE_CB, so that no poll set is built for each turn
//   flags       ARES_FLAG_STAYOPEN: without it a socket is closed whenever no question is under
//               way, so that one question at a time needs 11 system calls instead of 4 (the README
//               says what it gains by that). ARES_FLAG_EDNS with 1,232 octets, as our own questions
//               have. Not ARES_FLAG_NOCHECKRESP: with it SERVFAIL and REFUSED are answers, and no
//               other upstream is asked. Not ARES_FLAG_IGNTC: TCP after a truncated answer is
//               wanted
//   times       1,500 ms, as our own, and three rounds of all upstreams: it doubles the time with
//               each round, so more would begin after the ten seconds in which an answer helps
//   files       servers, domains, lookups, sort list and the rest are given, so that
//               ares_init_options() reads no resolv.conf, nsswitch.conf or host.conf
//   ports       one socket for each upstream, for as long as the channel lives. 1.18 has no
//               ARES_OPT_UDP_MAX_QUERIES (1.20), which would bound how many questions one has;
//               the other way to a fresh port is a channel for each question
//
// Its socket functions (ares_set_socket_functions()) are left alone: they would save four calls for
// each socket, of which a channel has one.
#include <algorithm>
#include <ares.h>
#include <arpa/nameser.h>
#include <array>
#include <list>
#include <netinet/in.h>
#include <sys/epoll.h>
#include <sys/time.h>
#include <unordered_map>

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "netstack/flow/timeouts.h"
#include "netstack/host/event_loop.h"
#include "tests/bench/load/sockets.h"
#include "tests/bench/upstream/asker.h"

namespace cordon::bench {
namespace {

constexpr int kTries = 3;
constexpr int kUdpOctets = 1232;
constexpr std::size_t kEvents = 64;  // of one turn

int milliseconds(Duration duration) {
  return static_cast<int>(std::chrono::ceil<std::chrono::milliseconds>(duration).count());
}

class Channel;

struct Poller {
  UniqueFd epoll{must(epoll_create1(EPOLL_CLOEXEC), "epoll_create1")};
  std::unordered_map<int, Channel*> owners;
};

class Channel {
 public:
  Channel(Poller& poller, std::span<const Endpoint> upstreams, int flags) : poller_(poller) {
    ares_options options{};
    options.flags = flags;
    options.timeout = milliseconds(kDnsFailover);
    options.tries = kTries;
    options.ndots = 1;
    options.ednspsz = kUdpOctets;
    in_addr any{};  // replaced below, where ports can be given
    options.servers = &any;
    options.nservers = 1;
    options.lookups = lookups_.data();
    options.sock_state_cb = &Channel::watch;
    options.sock_state_cb_data = this;
    constexpr int kGiven = ARES_OPT_FLAGS | ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_NDOTS |
                           ARES_OPT_SERVERS | ARES_OPT_DOMAINS | ARES_OPT_LOOKUPS |
                           ARES_OPT_SORTLIST | ARES_OPT_SOCK_STATE_CB | ARES_OPT_EDNSPSZ;
    if (ares_init_options(&channel_, &options, kGiven) != ARES_SUCCESS) die_plainly("ares_init");
    if (!set_upstreams(upstreams)) die_plainly("ares_set_servers_ports_csv");
  }
  ~Channel() { ares_destroy(channel_); }
  Channel(const Channel&) = delete;
  Channel& operator=(const Channel&) = delete;

  bool set_upstreams(std::span<const Endpoint> upstreams) {
    std::vector<std::string> words;
    for (const Endpoint& upstream : upstreams) words.push_back(upstream.to_string());
    const std::string text = fmt::format("{}", fmt::join(words, ","));
    return ares_set_servers_ports_csv(channel_, text.c_str()) == ARES_SUCCESS;
  }

  void ask(const std::string& name, Done done) {
    auto asked = std::make_unique<Asked>(Asked{.channel = *this, .done = std::move(done)});
    ares_query(channel_, name.c_str(), ns_c_in, ns_t_a, &Channel::answered, asked.release());
  }

  void process(int socket, std::uint32_t events) {
    const bool can_read = (events & (EPOLLIN | EPOLLERR | EPOLLHUP)) != 0;
    const bool can_write = (events & EPOLLOUT) != 0;
    ares_process_fd(channel_, can_read ? socket : ARES_SOCKET_BAD,
                    can_write ? socket : ARES_SOCKET_BAD);
  }
  void process_timeouts() { ares_process_fd(channel_, ARES_SOCKET_BAD, ARES_SOCKET_BAD); }

  /// Until its next timeout, at most `longest`.
  [[nodiscard]] Duration patience(Duration longest) {
    const auto microseconds = std::chrono::ceil<std::chrono::microseconds>(longest).count();
    timeval most{.tv_sec = microseconds / 1'000'000, .tv_usec = microseconds % 1'000'000};
    timeval next{};
    const timeval& due = *ares_timeout(channel_, &most, &next);
    return std::chrono::seconds(due.tv_sec) + std::chrono::microseconds(due.tv_usec);
  }

  [[nodiscard]] bool is_done() const { return is_done_; }

 private:
  struct Asked {
    Channel& channel;
    Done done;
  };

  static void answered(void* data, int status, int, unsigned char* octets, int size) {
    const std::unique_ptr<Asked> asked(static_cast<Asked*>(data));
    if (status == ARES_EDESTRUCTION) return;
    asked->channel.is_done_ = true;
    const bool has_answer = octets != nullptr && size > 0;
    asked->done(has_answer ? outcome_of(Bytes(octets, static_cast<std::size_t>(size))) : Outcome{});
  }

  static void watch(void* data, ares_socket_t socket, int is_readable, int is_writable) {
    auto& self = *static_cast<Channel*>(data);
    const int epoll = self.poller_.epoll.get();
    if (is_readable == 0 && is_writable == 0) {
      epoll_ctl(epoll, EPOLL_CTL_DEL, socket, nullptr);
      self.poller_.owners.erase(socket);
      return;
    }
    const bool is_new = self.poller_.owners.emplace(socket, &self).second;
    epoll_event event{};
    if (is_readable != 0) event.events |= EPOLLIN;
    if (is_writable != 0) event.events |= EPOLLOUT;
    event.data.fd = socket;
    epoll_ctl(epoll, is_new ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, socket, &event);
  }

  Poller& poller_;
  ares_channel channel_ = nullptr;
  std::array<char, 2> lookups_{'b', '\0'};
  bool is_done_ = false;
};

class CaresAsker final : public Asker {
 public:
  CaresAsker(std::vector<Endpoint> upstreams, CaresUse use)
      : upstreams_(std::move(upstreams)), use_(use) {
    if (use == CaresUse::kOneChannel) channels_.emplace_back(poller_, upstreams_, kKept);
  }

  bool set_upstreams(std::span<const Endpoint> upstreams) override {
    upstreams_.assign(upstreams.begin(), upstreams.end());
    return std::ranges::all_of(
        channels_, [this](Channel& channel) { return channel.set_upstreams(upstreams_); });
  }

  void ask(const std::string& name, Done done) override {
    if (use_ == CaresUse::kChannelPerQuestion) {
      channels_.emplace_back(poller_, upstreams_, int{ARES_FLAG_EDNS});
    }
    channels_.back().ask(name, std::move(done));
  }

  void turn(Instant until) override {
    Duration patience = std::max(until - monotonic_now(), Duration{});
    for (Channel& channel : channels_) patience = channel.patience(patience);
    std::array<epoll_event, kEvents> events;
    const int count =
        epoll_wait(poller_.epoll.get(), events.data(), kEvents, milliseconds(patience));
    for (int i = 0; i < count; ++i) {
      const epoll_event& event = events[static_cast<std::size_t>(i)];
      const auto owner = poller_.owners.find(event.data.fd);
      if (owner != poller_.owners.end()) owner->second->process(event.data.fd, event.events);
    }
    if (count == 0) {
      for (Channel& channel : channels_) channel.process_timeouts();
    }
    if (use_ == CaresUse::kChannelPerQuestion)
      channels_.remove_if([](const Channel& channel) { return channel.is_done(); });
  }

 private:
  static constexpr int kKept = ARES_FLAG_EDNS | ARES_FLAG_STAYOPEN;

  Poller poller_;
  std::vector<Endpoint> upstreams_;
  CaresUse use_;
  std::list<Channel> channels_;
};

}  // namespace

std::unique_ptr<Asker> make_cares_asker(std::vector<Endpoint> upstreams, CaresUse use) {
  return std::make_unique<CaresAsker>(std::move(upstreams), use);
}

std::string cares_version() { return ares_version(nullptr); }

}  // namespace cordon::bench
