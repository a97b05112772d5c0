// The server of all loads (protocol.h): TCP ports, UDP ports and a DNS server that answers every
// question of type A, by `--threads` event loops. A TCP connection belongs to the loop that
// accepted it; all datagrams belong to the first loop.
#include <array>
#include <atomic>
#include <cerrno>
#include <cstring>
#include <memory>
#include <netinet/tcp.h>
#include <netinet/udp.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "tests/bench/load/datagram_sender.h"
#include "tests/bench/load/protocol.h"
#include "tests/bench/load/sockets.h"

namespace cordon::bench {
namespace {

// Turns of one connection before the next has its turn.
constexpr int kTurns = 8;

struct Session {
  std::atomic<std::uint64_t> octets{0};
  std::atomic<std::uint64_t> datagrams{0};
  std::atomic<std::uint64_t> sent{0};
};

class Sessions {
 public:
  Session& at(std::uint32_t session) { return (*all_)[session % kSessions]; }

 private:
  std::unique_ptr<std::array<Session, kSessions>> all_ =
      std::make_unique<std::array<Session, kSessions>>();
};

void add_to(std::atomic<std::uint64_t>& counter, std::uint64_t value) {
  counter.fetch_add(value, std::memory_order_relaxed);
}

// The TCP connections of one event loop.
class Connections {
 public:
  Connections(int poller, Sessions& sessions) : poller_(poller), sessions_(sessions) {}

  void accept_all(int listener) {
    for (int turn = 0; turn < 64; ++turn) {
      UniqueFd fd(accept4(listener, nullptr, nullptr, SOCK_NONBLOCK | SOCK_CLOEXEC));
      if (!fd.is_open()) {
        if (errno == EAGAIN || errno == ECONNABORTED) return;
        die("accept");
      }
      set_tcp_manners(fd.get());
      const int number = fd.get();
      if (all_.size() <= static_cast<std::size_t>(number)) all_.resize(number + 1);
      all_[number] = Connection{std::move(fd), 0, 0, false};
      on_ready(number);
    }
  }

  void on_ready(int number) {
    Connection& connection = all_[number];
    bool is_alive = true;
    if (connection.kind == kSource) {
      is_alive = write_on(connection);
    } else {
      is_alive = read_on(connection);
    }
    if (!is_alive) {
      connection.fd.reset();  // leaves the poller with it
    } else if (!connection.is_watched) {
      const std::uint32_t out = connection.kind == kSource ? EPOLLOUT : 0U;
      watch(poller_, number, EPOLLIN | out);
      connection.is_watched = true;
    } else if (connection.kind == kSource && !connection.is_writing) {
      epoll_event event{};
      event.events = EPOLLIN | EPOLLOUT;
      event.data.fd = number;
      must(epoll_ctl(poller_, EPOLL_CTL_MOD, number, &event), "epoll_ctl");
    }
    connection.is_writing = connection.kind == kSource;
  }

 private:
  struct Connection {
    UniqueFd fd;
    char kind = 0;
    std::uint32_t session = 0;
    bool is_watched = false;
    bool is_writing = false;
  };

  // False where the connection has ended.
  bool read_on(Connection& connection) {
    for (int turn = 0; turn < kTurns; ++turn) {
      const ssize_t got = recv(connection.fd.get(), buffer_.data(), buffer_.size(), 0);
      if (got < 0) return errno == EAGAIN;
      if (got == 0) return false;
      if (!take(connection, static_cast<std::size_t>(got))) return false;
      if (connection.kind == kSource) return write_on(connection);
    }
    return true;
  }

  bool take(Connection& connection, std::size_t got) {
    if (connection.kind == 0) {
      connection.kind = buffer_.front();
      if (connection.kind == kSink || connection.kind == kReport) {
        if (got < sizeof(SessionHead)) return false;
        SessionHead head;
        std::memcpy(&head, buffer_.data(), sizeof head);
        connection.session = head.session;
        got -= sizeof head;
      }
    }
    Session& session = sessions_.at(connection.session);
    switch (connection.kind) {
      case kSink:
        add_to(session.octets, got);
        return true;
      case kReport: {
        const Report report{session.octets, session.datagrams, session.sent, now_ns()};
        return send(connection.fd.get(), &report, sizeof report, MSG_NOSIGNAL) == sizeof report;
      }
      case kEcho:
        return send(connection.fd.get(), buffer_.data(), got, MSG_NOSIGNAL) ==
               static_cast<ssize_t>(got);
      case kConnection:
        send(connection.fd.get(), buffer_.data(), kRequestOctets, MSG_NOSIGNAL);
        return false;
      default:
        return connection.kind == kSource;
    }
  }

  bool write_on(Connection& connection) {
    for (int turn = 0; turn < kTurns; ++turn) {
      const ssize_t sent =
          send(connection.fd.get(), buffer_.data(), buffer_.size(), MSG_NOSIGNAL | MSG_DONTWAIT);
      if (sent < 0) return errno == EAGAIN;
    }
    return true;
  }

  int poller_;
  Sessions& sessions_;
  std::vector<Connection> all_;
  std::vector<char> buffer_ = std::vector<char>(kBufferOctets);
};

// The datagrams of one UDP port.
class Datagrams {
 public:
  Datagrams(UniqueFd fd, Sessions& sessions) : fd_(std::move(fd)), sessions_(sessions) {
    set_integer(fd_.get(), SOL_UDP, UDP_GRO, 1, "UDP_GRO");
    for (std::size_t i = 0; i < kMessages; ++i) {
      iovs_[i] = {buffer_.data() + i * kMessageOctets, kMessageOctets};
    }
  }

  [[nodiscard]] int descriptor() const { return fd_.get(); }

  void on_ready() {
    for (int turn = 0; turn < kTurns; ++turn) {
      for (std::size_t i = 0; i < kMessages; ++i) {
        messages_[i].msg_hdr = {.msg_name = peers_[i].get(),
                                .msg_namelen = sizeof peers_[i].storage,
                                .msg_iov = &iovs_[i],
                                .msg_iovlen = 1,
                                .msg_control = controls_[i].data(),
                                .msg_controllen = controls_[i].size(),
                                .msg_flags = 0};
      }
      const int got = recvmmsg(fd_.get(), messages_.data(), kMessages, MSG_DONTWAIT, nullptr);
      if (got < 0) {
        if (errno == EAGAIN || errno == ECONNREFUSED) return;
        die("recvmmsg");
      }
      for (int i = 0; i < got; ++i) take(static_cast<std::size_t>(i));
    }
  }

 private:
  static constexpr std::size_t kMessages = 32;
  static constexpr std::size_t kMessageOctets = 65536;

  void take(std::size_t i) {
    const std::size_t octets = messages_[i].msg_len;
    const char* data = static_cast<const char*>(iovs_[i].iov_base);
    peers_[i].length = messages_[i].msg_hdr.msg_namelen;
    if (octets >= sizeof(SessionHead) && *data == kSink) {
      SessionHead head;
      std::memcpy(&head, data, sizeof head);
      const std::size_t segment = segment_size(messages_[i].msg_hdr, octets);
      Session& session = sessions_.at(head.session);
      add_to(session.octets, octets);
      add_to(session.datagrams, (octets + segment - 1) / segment);
    } else if (octets >= 1 && *data == kEcho) {
      sendto(fd_.get(), data, octets, MSG_DONTWAIT, peers_[i].get(), peers_[i].length);
    } else if (octets >= sizeof(Begin) && *data == kBegin) {
      Begin begin;
      std::memcpy(&begin, data, sizeof begin);
      start_sending(begin, peers_[i]);
    }
  }

  static std::size_t segment_size(msghdr& message, std::size_t octets) {
    for (cmsghdr* it = CMSG_FIRSTHDR(&message); it != nullptr; it = CMSG_NXTHDR(&message, it)) {
      if (it->cmsg_level == SOL_UDP && it->cmsg_type == UDP_GRO) {
        int segment = 0;
        std::memcpy(&segment, CMSG_DATA(it), sizeof segment);
        if (segment > 0) return static_cast<std::size_t>(segment);
      }
    }
    return octets;
  }

  // A repeated Begin, because the first was lost or is not answered yet, starts nothing.
  void start_sending(const Begin& begin, const SocketAddress& to) {
    if (begin.session == last_begun_ || begin.octets < sizeof(SessionHead)) return;
    last_begun_ = begin.session;
    std::thread([begin, to, fd = fd_.get(), &session = sessions_.at(begin.session)] {
      const DatagramPlan plan{begin.session,  kData,      begin.octets,
                              begin.segments, begin.rate, begin.seconds};
      session.sent = send_datagrams(fd, &to, plan);
    }).detach();
  }

  UniqueFd fd_;
  Sessions& sessions_;
  std::uint32_t last_begun_ = 0;
  std::vector<char> buffer_ = std::vector<char>(kMessages * kMessageOctets);
  std::array<iovec, kMessages> iovs_{};
  std::array<SocketAddress, kMessages> peers_{};
  std::array<std::array<char, 64>, kMessages> controls_{};
  std::array<mmsghdr, kMessages> messages_{};
};

// Turns a question into its answer, 198.51.100.17 for a minute, in place.
std::size_t answer_question(std::vector<char>& message, std::size_t octets) {
  constexpr std::size_t kHeader = 12;
  constexpr std::array<char, 16> kRecord = {'\xc0', 12, 0, 1, 0,      1,  0,   0,
                                            0,      60, 0, 4, '\xc6', 51, 100, 17};
  std::size_t end = kHeader;  // of the question: labels, type, class
  while (end < octets && message[end] != 0) end += static_cast<unsigned char>(message[end]) + 1U;
  end += 5;
  if (octets < kHeader || end > octets || end + kRecord.size() > message.size()) return 0;
  message[2] = '\x81';  // an answer, recursion desired
  message[3] = '\x80';  // recursion available, no error
  const bool is_a = message[end - 4] == 0 && message[end - 3] == 1;
  message[7] = is_a ? 1 : 0;
  message[9] = message[11] = 0;  // an OPT record of the question is not repeated
  if (!is_a) return end;
  std::memcpy(message.data() + end, kRecord.data(), kRecord.size());
  return end + kRecord.size();
}

class Questions {
 public:
  explicit Questions(UniqueFd fd) : fd_(std::move(fd)) {}
  [[nodiscard]] int descriptor() const { return fd_.get(); }

  void on_ready() {
    for (int turn = 0; turn < 256; ++turn) {
      SocketAddress peer;
      peer.length = sizeof peer.storage;
      const ssize_t got = recvfrom(fd_.get(), message_.data(), message_.size(), MSG_DONTWAIT,
                                   peer.get(), &peer.length);
      if (got < 0) return;
      const std::size_t octets = answer_question(message_, static_cast<std::size_t>(got));
      if (octets == 0) continue;
      sendto(fd_.get(), message_.data(), octets, MSG_DONTWAIT, peer.get(), peer.length);
    }
  }

 private:
  UniqueFd fd_;
  std::vector<char> message_ = std::vector<char>(2048);
};

UniqueFd receive_on(const SocketAddress& address) {
  UniqueFd fd = open_udp(address.family());
  must(bind(fd.get(), address.get(), address.length), "bind");
  return fd;
}

// One event loop, for ever.
class Loop {
 public:
  Loop(const std::vector<UniqueFd>& listeners, Sessions& sessions)
      : poller_(must(epoll_create1(EPOLL_CLOEXEC), "epoll_create1")),
        connections_(poller_.get(), sessions) {
    for (const UniqueFd& listener : listeners) {
      watch(poller_.get(), listener.get(), EPOLLIN | EPOLLEXCLUSIVE);
      listeners_.push_back(listener.get());
    }
  }

  void serve_datagrams(std::unique_ptr<Datagrams> port) {
    watch(poller_.get(), port->descriptor(), EPOLLIN);
    datagrams_.push_back(std::move(port));
  }
  void serve_questions(std::unique_ptr<Questions> port) {
    watch(poller_.get(), port->descriptor(), EPOLLIN);
    questions_.push_back(std::move(port));
  }

  [[noreturn]] void run() {
    poll_for_ever(poller_.get(), [this](int fd) { on_ready(fd); });
  }

 private:
  void on_ready(int fd) {
    for (const auto& port : datagrams_) {
      if (port->descriptor() == fd) return port->on_ready();
    }
    for (const auto& port : questions_) {
      if (port->descriptor() == fd) return port->on_ready();
    }
    for (const int listener : listeners_) {
      if (listener == fd) return connections_.accept_all(fd);
    }
    connections_.on_ready(fd);
  }

  UniqueFd poller_;
  std::vector<int> listeners_;
  Connections connections_;
  std::vector<std::unique_ptr<Datagrams>> datagrams_;
  std::vector<std::unique_ptr<Questions>> questions_;
};

}  // namespace

// serve --tcp ADDR:PORT… --udp ADDR:PORT… [--dns ADDR:PORT] [--threads N]
int serve(const Options& options) {
  Sessions sessions;
  std::vector<UniqueFd> listeners;
  for (const SocketAddress& address : options.addresses("tcp")) {
    listeners.push_back(listen_on(address));
  }
  Loop first(listeners, sessions);
  for (const SocketAddress& address : options.addresses("udp")) {
    first.serve_datagrams(std::make_unique<Datagrams>(receive_on(address), sessions));
  }
  for (const std::string& text : options.all("dns")) {
    first.serve_questions(std::make_unique<Questions>(receive_on(SocketAddress::parse(text))));
  }
  for (int i = 1; i < options.integer("threads", 1); ++i) {
    std::thread([&listeners, &sessions] { Loop(listeners, sessions).run(); }).detach();
  }
  tell(R"({"ready":true})");
  first.run();
  return 0;
}

}  // namespace cordon::bench
