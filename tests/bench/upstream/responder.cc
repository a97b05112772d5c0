#include "tests/bench/upstream/responder.h"

#include <algorithm>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "netstack/host/event_loop.h"
#include "netstack/host/socket_address.h"
#include "tests/bench/load/sockets.h"
#include "tests/bench/upstream/asker.h"

namespace cordon::bench {
namespace {

using Octets = std::vector<std::uint8_t>;

constexpr int kTurnMilliseconds = 5;
constexpr std::size_t kHeader = 12;
constexpr std::size_t kBurst = 64;  // forged answers without a rest, so that they find room

enum : std::uint8_t { kNoError = 0, kServfail = 2, kRefused = 5 };

std::size_t end_of_question(Bytes query) {
  std::size_t at = kHeader;
  while (at < query.size() && query[at] != 0) at += query[at] + std::size_t{1};
  return std::min(at + 5, query.size());
}

/// Header and question of the query, and so many A records.
Octets answer(Bytes query, std::uint8_t rcode, std::size_t addresses, std::uint8_t last_octet) {
  const Bytes kept = query.first(end_of_question(query));
  Octets out(kept.begin(), kept.end());
  out[2] |= 0x80;
  out[3] = static_cast<std::uint8_t>(0x80 | rcode);
  std::fill(out.begin() + 6, out.begin() + kHeader, std::uint8_t{0});
  out[7] = static_cast<std::uint8_t>(addresses);
  for (std::size_t i = 0; i < addresses; ++i) {
    const std::array<std::uint8_t, 16> record{0xc0, 12, 0, 1, 0,   1,  0,   0,
                                              0,    60, 0, 4, 198, 51, 100, last_octet};
    out.insert(out.end(), record.begin(), record.end());
  }
  return out;
}

void send_to(int socket, const Endpoint& asker, const Octets& octets) {
  const cordon::SocketAddress address(asker);
  // A socket that is closed already is the asker's business.
  (void)sendto(socket, octets.data(), octets.size(), 0, address.get(), address.size());
}

UniqueFd bind_to(int type, const Endpoint& endpoint) {
  UniqueFd socket(::socket(AF_INET, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0));
  const cordon::SocketAddress address(endpoint);
  if (!socket.is_open() || bind(socket.get(), address.get(), address.size()) != 0) return {};
  return socket;
}

std::uint16_t port_of(const UniqueFd& socket) {
  cordon::SocketAddress address;
  must(getsockname(socket.get(), address.out(), address.size_out()), "getsockname");
  return address.endpoint().value().port;
}

UniqueFd must_bind(int type, const Endpoint& endpoint) {
  UniqueFd socket = bind_to(type, endpoint);
  if (!socket.is_open()) die("bind " + endpoint.to_string());
  return socket;
}

}  // namespace

struct Responder::Question {
  Bytes octets;
  Endpoint asker;
};

Responder::Responder(std::size_t count) {
  constexpr std::uint32_t kFirst = 0x7f000b01;  // 127.0.11.1
  constexpr int kRoom = 4 << 20;
  for (std::size_t i = 0; i < count; ++i) {
    auto upstream = std::make_unique<Upstream>();
    upstream->endpoint.address = IpAddress::v4(static_cast<std::uint32_t>(kFirst + i));
    // The TCP port of a number that is free for UDP mostly is as well.
    for (int tries = 0; tries < 20 && !upstream->tcp.is_open(); ++tries) {
      upstream->endpoint.port = 0;
      upstream->udp = must_bind(SOCK_DGRAM, upstream->endpoint);
      upstream->endpoint.port = port_of(upstream->udp);
      upstream->tcp = bind_to(SOCK_STREAM, upstream->endpoint);
    }
    must(listen(upstream->tcp.get(), SOMAXCONN), "listen");
    must(setsockopt(upstream->udp.get(), SOL_SOCKET, SO_RCVBUF, &kRoom, sizeof(kRoom)),
         "SO_RCVBUF");
    upstreams_.push_back(std::move(upstream));
  }
  const Endpoint& first = upstreams_[0]->endpoint;
  other_port_ = must_bind(SOCK_DGRAM, Endpoint{first.address, 0});
  other_address_ = must_bind(SOCK_DGRAM, Endpoint{IpAddress::v4(kFirst + 100), first.port});
  thread_ = std::thread([this] { serve(); });
}

Responder::~Responder() {
  is_over_ = true;
  thread_.join();
}

Responder::Seen Responder::seen() {
  const std::lock_guard lock(mutex_);
  return seen_;
}

void Responder::forget() {
  const std::lock_guard lock(mutex_);
  seen_ = {};
}

void Responder::serve() {
  std::vector<pollfd> waits;
  for (const auto& upstream : upstreams_) {
    waits.push_back({.fd = upstream->udp.get(), .events = POLLIN, .revents = 0});
    waits.push_back({.fd = upstream->tcp.get(), .events = POLLIN, .revents = 0});
  }
  while (!is_over_) {
    poll(waits.data(), waits.size(), kTurnMilliseconds);
    for (std::size_t i = 0; i < upstreams_.size(); ++i) {
      if (waits[2 * i].revents != 0) on_questions(*upstreams_[i]);
      if (waits[2 * i + 1].revents != 0) on_stream(*upstreams_[i]);
    }
    send_late(monotonic_now());
  }
}

void Responder::on_questions(Upstream& upstream) {
  std::array<std::uint8_t, 2048> buffer;
  for (;;) {
    cordon::SocketAddress from;
    const ssize_t got =
        recvfrom(upstream.udp.get(), buffer.data(), buffer.size(), 0, from.out(), from.size_out());
    if (got < 0) return;
    const auto asker = from.endpoint();
    const auto octets = Bytes(buffer).first(static_cast<std::size_t>(got));
    if (!asker || octets.size() <= kHeader) continue;
    {
      const std::lock_guard lock(mutex_);
      ++seen_.questions;
      seen_.ports.insert(asker->port);
      seen_.last.assign(octets.begin(), octets.end());
    }
    on_question(upstream, {.octets = octets, .asker = *asker});
    upstream.port_before = asker->port;
  }
}

void Responder::on_question(Upstream& upstream, const Question& question) {
  const Manner manner = upstream.manner;
  const int socket = upstream.udp.get();
  const Octets honest = answer(question.octets, kNoError, 1, kHonestOctet);
  switch (manner) {
    case Manner::kIsSilent:
      return;
    case Manner::kIsSlow:
      late_.push_back({monotonic_now() + kSlowAnswer, honest, socket, question.asker});
      return;
    case Manner::kServfail:
      return send_to(socket, question.asker, answer(question.octets, kServfail, 0, 0));
    case Manner::kRefused:
      return send_to(socket, question.asker, answer(question.octets, kRefused, 0, 0));
    case Manner::kTruncates: {
      Octets cut = answer(question.octets, kNoError, 0, 0);
      cut[2] |= 2;
      return send_to(socket, question.asker, cut);
    }
    case Manner::kLoses10:
    case Manner::kLoses30:
      if (is_lost(manner) || is_lost(manner)) return;
      break;
    case Manner::kAnswers:
      break;
    case Manner::kForgesId:
    case Manner::kForgesQuestion:
    case Manner::kForgesPort:
    case Manner::kForgesAddress:
      forge(upstream, question, manner);
      break;
    case Manner::kForgesAllIds:
      spray(upstream, question);
      break;
  }
  send_to(socket, question.asker, honest);
}

void Responder::forge(const Upstream& upstream, const Question& question, Manner manner) {
  Octets forged = answer(question.octets, kNoError, 1, kForgedOctet);
  if (manner == Manner::kForgesId) forged[1] ^= 1;
  if (manner == Manner::kForgesQuestion) ++forged[kHeader + 1];  // the name's first letter
  const bool is_from_elsewhere = manner == Manner::kForgesPort || manner == Manner::kForgesAddress;
  const UniqueFd& elsewhere = manner == Manner::kForgesPort ? other_port_ : other_address_;
  send_to(is_from_elsewhere ? elsewhere.get() : upstream.udp.get(), question.asker, forged);
}

void Responder::spray(const Upstream& upstream, const Question& question) {
  if (upstream.port_before == 0) return;
  Octets forged = answer(question.octets, kNoError, 1, kForgedOctet);
  const Endpoint guessed{question.asker.address, upstream.port_before};
  for (std::size_t id = 0; id < 0x10000; ++id) {
    forged[0] = static_cast<std::uint8_t>(id >> 8U);
    forged[1] = static_cast<std::uint8_t>(id);
    send_to(upstream.udp.get(), guessed, forged);
    if (id % kBurst == 0) usleep(50);
  }
}

// The asker is of this program: it sends its question at once, and in one go.
void Responder::on_stream(const Upstream& upstream) {
  const UniqueFd stream(accept4(upstream.tcp.get(), nullptr, nullptr, SOCK_CLOEXEC));
  if (!stream.is_open()) return;
  const timeval patience{.tv_sec = 1, .tv_usec = 0};
  setsockopt(stream.get(), SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof(patience));
  std::array<std::uint8_t, 2048> buffer;
  const ssize_t got = recv(stream.get(), buffer.data(), buffer.size(), 0);
  if (got <= ssize_t{kHeader} + 2) return;
  const Octets whole = answer(Bytes(buffer).first(static_cast<std::size_t>(got)).subspan(2),
                              kNoError, kAnswersOfTcp, kHonestOctet);
  Octets framed{static_cast<std::uint8_t>(whole.size() >> 8U),
                static_cast<std::uint8_t>(whole.size())};
  framed.insert(framed.end(), whole.begin(), whole.end());
  (void)send(stream.get(), framed.data(), framed.size(), MSG_NOSIGNAL);
  (void)recv(stream.get(), buffer.data(), buffer.size(), 0);  // its end, or the patience's
}

void Responder::send_late(Instant now) {
  std::erase_if(late_, [now](const Late& late) {
    if (late.due > now) return false;
    send_to(late.socket, late.asker, late.octets);
    return true;
  });
}

bool Responder::is_lost(Manner manner) {
  chance_ ^= chance_ << 13U;
  chance_ ^= chance_ >> 7U;
  chance_ ^= chance_ << 17U;
  return chance_ % 100 < (manner == Manner::kLoses10 ? 10U : 30U);
}

}  // namespace cordon::bench
