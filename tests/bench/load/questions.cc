// DNS questions of type A, each for a name of its own so that no cache helps, `concurrency` under
// way at once from one socket. The server is the first of /etc/resolv.conf unless one is given.
#include <array>
#include <cstring>
#include <fstream>
#include <poll.h>
#include <random>

#include <fmt/format.h>

#include "tests/bench/load/sockets.h"

namespace cordon::bench {
namespace {

constexpr std::int64_t kPatience = kSecond;

SocketAddress find_server(const Options& options) {
  if (!options.all("to").empty()) return options.addresses("to").front();
  std::ifstream file("/etc/resolv.conf");
  for (std::string line; std::getline(file, line);) {
    constexpr std::string_view kWord = "nameserver ";
    if (!line.starts_with(kWord)) continue;
    const std::string address = line.substr(kWord.size());
    return SocketAddress::parse(address.contains(':') ? fmt::format("[{}]:53", address)
                                                      : fmt::format("{}:53", address));
  }
  die_plainly("/etc/resolv.conf names no server");
}

std::string make_question(std::uint16_t id, std::uint64_t name) {
  std::string message(12, '\0');
  message[0] = static_cast<char>(id >> 8);
  message[1] = static_cast<char>(id & 255);
  message[2] = 1;  // recursion desired
  message[5] = 1;  // one question
  for (const std::string& label : {fmt::format("n{:x}", name), std::string("bench"),
                                   std::string("example"), std::string("com")}) {
    message += static_cast<char>(label.size());
    message += label;
  }
  message += std::string("\0\0\1\0\1", 5);
  return message;
}

class Asker {
 public:
  Asker(const SocketAddress& server, std::size_t concurrency)
      : fd_(open_udp(server.family())), begun_(concurrency), names_(std::random_device()()) {
    names_ <<= 24;
    must(connect(fd_.get(), server.get(), server.length), "connect");
  }

  void run_until(std::int64_t end) {
    for (std::size_t slot = 0; slot < begun_.size(); ++slot) ask(slot);
    while (now_ns() < end) {
      pollfd waiting{fd_.get(), POLLIN, 0};
      if (poll(&waiting, 1, 50) == 1) receive();
      const std::int64_t oldest = now_ns() - kPatience;
      for (std::size_t slot = 0; slot < begun_.size(); ++slot) {
        if (begun_[slot] > oldest) continue;
        ++lost_;
        ask(slot);
      }
    }
  }

  [[nodiscard]] std::uint64_t lost() const { return lost_; }
  [[nodiscard]] std::uint64_t failed() const { return failed_; }
  Latencies& latencies() { return latencies_; }

 private:
  void ask(std::size_t slot) {
    begun_[slot] = now_ns();
    const std::string question = make_question(static_cast<std::uint16_t>(slot), ++names_);
    send(fd_.get(), question.data(), question.size(), 0);  // a refusal shows as a lost answer
  }

  void receive() {
    std::array<unsigned char, 2048> answer{};
    for (;;) {
      const ssize_t got = recv(fd_.get(), answer.data(), answer.size(), MSG_DONTWAIT);
      if (got < 12) return;
      const std::size_t slot = answer[0] * 256U + answer[1];
      if (slot >= begun_.size()) continue;
      const bool is_good = (answer[3] & 15U) == 0 && answer[7] > 0;
      if (is_good) latencies_.add(now_ns() - begun_[slot]);
      if (!is_good) ++failed_;
      ask(slot);
    }
  }

  UniqueFd fd_;
  std::vector<std::int64_t> begun_;
  std::uint64_t names_;
  std::uint64_t lost_ = 0;
  std::uint64_t failed_ = 0;
  Latencies latencies_;
};

}  // namespace

// questions [--to ADDR:PORT] --concurrency N --seconds S
int load_questions(const Options& options) {
  Asker asker(find_server(options), static_cast<std::size_t>(options.integer("concurrency", 1)));
  const std::int64_t start = now_ns();
  asker.run_until(start + static_cast<std::int64_t>(options.number("seconds", 1) * kSecond));
  const double rate = static_cast<double>(asker.latencies().size()) / seconds_of(now_ns() - start);
  tell(fmt::format(R"({{"rate":{:.1f},"lost":{},"failed":{},{}}})", rate, asker.lost(),
                   asker.failed(), asker.latencies().json()));
  return 0;
}

}  // namespace cordon::bench
