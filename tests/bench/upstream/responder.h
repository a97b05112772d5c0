// The upstreams of the comparison: a few addresses of 127.0.0.0/8, each a UDP socket and a TCP
// listener that answer as they are told, on one thread of their own. The answers have the
// question's octets and an A record; those of forgers, another address.
#pragma once

#include <array>
#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <set>
#include <thread>
#include <vector>

#include "netstack/address/ip_address.h"
#include "netstack/base/bytes.h"
#include "netstack/base/time.h"
#include "netstack/host/descriptor/unique_fd.h"

namespace cordon::bench {

enum class Manner : std::uint8_t {
  kAnswers,
  kIsSilent,
  kIsSlow,  // kSlowAnswer later
  kServfail,
  kRefused,
  kTruncates,  // and answers over TCP
  kLoses10,    // in a hundred datagrams, of questions and of answers each
  kLoses30,
  // A forger is faster than the answer.
  kForgesId,
  kForgesQuestion,
  kForgesPort,     // id and question are right
  kForgesAddress,  // likewise
  kForgesAllIds,   // to the port of the question before, every id
};

inline constexpr Duration kSlowAnswer = std::chrono::seconds(2);
inline constexpr std::size_t kAnswersOfTcp = 60;

class Responder {
 public:
  /// `count` upstreams; ends the program where they cannot be had.
  explicit Responder(std::size_t count);
  ~Responder();
  Responder(const Responder&) = delete;
  Responder& operator=(const Responder&) = delete;

  [[nodiscard]] Endpoint upstream(std::size_t index) const { return upstreams_[index]->endpoint; }
  void set_manner(std::size_t index, Manner manner) { upstreams_[index]->manner = manner; }

  /// What the questions since forget() were like.
  struct Seen {
    std::set<std::uint16_t> ports;
    std::size_t questions = 0;
    std::vector<std::uint8_t> last;
  };
  [[nodiscard]] Seen seen();
  void forget();

 private:
  struct Upstream {
    Endpoint endpoint;
    UniqueFd udp;
    UniqueFd tcp;
    std::atomic<Manner> manner = Manner::kAnswers;
    std::uint16_t port_before = 0;  // of the asker's question before this one
  };
  struct Question;
  struct Late {
    Instant due;
    std::vector<std::uint8_t> octets;
    int socket;
    Endpoint asker;
  };

  void serve();
  void on_questions(Upstream& upstream);
  void on_question(Upstream& upstream, const Question& question);
  void forge(const Upstream& upstream, const Question& question, Manner manner);
  static void spray(const Upstream& upstream, const Question& question);
  static void on_stream(const Upstream& upstream);
  void send_late(Instant now);
  bool is_lost(Manner manner);

  std::vector<std::unique_ptr<Upstream>> upstreams_;
  UniqueFd other_port_;     // of the first upstream's address
  UniqueFd other_address_;  // with its port
  std::vector<Late> late_;
  std::uint64_t chance_ = 88172645463325252;
  std::mutex mutex_;
  Seen seen_;
  std::atomic<bool> is_over_ = false;
  std::thread thread_;
};

}  // namespace cordon::bench
