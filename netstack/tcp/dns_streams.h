// DNS over TCP (RFC 7766), as far as its octets go: messages with their length in front, in and out
// of one connection of the guest's. What a message says is the resolver's (names/resolver.h); the
// connection's life is TcpFlows'.
//
// Several questions may be under way on one connection, and are answered in any order. A guest that
// sends a shorter or longer message than a question can be, or does not read its answers, is cut
// off. All memory is reserved at the start (calloc() gives pages that nobody has written):
// kMaxDnsStreams connections, each with room for one question and one longest answer.
#pragma once

#include <cstdlib>
#include <memory>
#include <vector>

#include "netstack/flow/context.h"
#include "netstack/flow/limits.h"
#include "netstack/flow/table.h"
#include "netstack/names/resolver.h"

namespace cordon {

class DnsStreams {
 public:
  /// What becomes of a connection.
  enum class State : std::uint8_t {
    kOpen,
    kDone,    // the guest has closed its half and has all its answers
    kBroken,  // cut off
  };

  DnsStreams(const FlowContext& context, Resolver& resolver);

  /// A place for one connection; -1 where there is none.
  [[nodiscard]] std::int16_t take();
  void give(std::int16_t place);

  /// Takes what the guest has sent, asks the resolver what is whole, and sends what is answered.
  [[nodiscard]] State pump(Instant now, std::int16_t place, FlowId flow, const FlowKey& key,
                           SocketHandle socket);
  /// An answer that comes later, or from within pump().
  [[nodiscard]] State on_answer(std::int16_t place, SocketHandle socket, Bytes message);

 private:
  static constexpr std::size_t kPrefix = 2;
  // Header, question and an OPT record with any option that a client may send.
  static constexpr std::size_t kMaxQuestion = 4096;
  struct Stream {
    std::array<std::uint8_t, kPrefix + kMaxQuestion> in;
    std::array<std::uint8_t, kPrefix + kLongestDnsMessage> out;
    std::size_t in_size;
    std::size_t out_size;
    std::size_t awaited;  // answers that will come later
    bool is_finished;     // the guest's FIN has come
    bool is_broken;
    bool is_pumping;
  };
  struct Free {
    // NOLINTNEXTLINE(cppcoreguidelines-no-malloc): it is calloc() that gives pages unwritten
    void operator()(void* memory) const { std::free(memory); }
  };

  void read(Instant now, Stream& stream, FlowId flow, const FlowKey& key, SocketHandle socket);
  void ask_whole(Instant now, Stream& stream, FlowId flow, const FlowKey& key);
  void flush(Stream& stream, SocketHandle socket);
  [[nodiscard]] static State state_of(const Stream& stream);

  FlowContext context_;
  Resolver& resolver_;
  std::unique_ptr<Stream[], Free> streams_;
  std::vector<std::int16_t> free_;
};

}  // namespace cordon
