// Questions to the host's upstreams, for whoever asks: the resolver on behalf of the guest, and
// look-ups of names that are being dialled.
//
// c-ares does this too, and for less processor time (tests/bench/README.md has the comparison). It
// is not used because what is under way together leaves from one port, so that an id of 16 bits is
// all that a forger has to find; it waits anew for a dead upstream with each question, and takes no
// other list of upstreams while one is under way; and its clock is clock_gettime(), so that none of
// this could be shown with a clock that tests move. It allocates for each question.
//
//   a question  -> a fresh socket, port and id (RFC 5452), the name in lower case, none of the
//                  guest's EDNS options
//   its answer  -> must come from an upstream that was asked, with that id and that question;
//                  anything else is dropped and counted
//   truncated   -> asked again over TCP of the same upstream (RFC 7766), where the asker needs the
//                  whole; where TCP leads nowhere, by UDP again, and the asker has what fits
//
// The upstreams are asked in order from the one that answered last; the next is asked when one
// refuses, fails, or is silent for kDnsFailover (kDnsStream over TCP), and the first again after
// the last. A question keeps its socket, so that an answer counts however late it comes: whoever
// needs two seconds each time is slow, not dead. When all have refused twice in a row, or after
// kDnsQuery, the asker is told that there is no answer. A new list of upstreams takes over what is
// under way at once, on fresh sockets.
//
// An asker is never called from within ask(): what fails at once is told on the next deadline.
// Nothing is cached: that is the upstream's work, and TTLs stay true.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <vector>

#include "netstack/flow/table.h"
#include "netstack/names/dns_message.h"
#include "netstack/seams/events.h"
#include "netstack/seams/guest_sockets.h"
#include "netstack/seams/host_sockets.h"
#include "netstack/wire/drop.h"

namespace cordon {

enum class Asker : std::uint8_t { kResolver, kLookup };

/// Names a question: whose it is, and which of its own.
struct QueryKey {
  Asker asker = Asker::kResolver;
  std::uint8_t part = 0;
  FlowId of;
  [[nodiscard]] std::uint64_t hash(const SipKey& key) const;
  friend bool operator==(const QueryKey&, const QueryKey&) = default;
};

class UpstreamAnswers {
 public:
  virtual ~UpstreamAnswers() = default;
  /// `response` is a whole message that answers the question; empty: nobody answered. The question
  /// is over.
  virtual void on_upstream_answer(Instant now, const QueryKey& key, Bytes response) = 0;
};

/// All that asking needs. References only; the translator outlives them.
struct UpstreamSeams {
  HostSockets& host;
  Streams& streams;
  Entropy& entropy;
  Events& events;
  DropCounters& drops;
};

class UpstreamQueries {
 public:
  explicit UpstreamQueries(const UpstreamSeams& seams);
  UpstreamQueries(const UpstreamQueries&) = delete;
  UpstreamQueries& operator=(const UpstreamQueries&) = delete;

  /// Whom the answers to one asker's questions go to; outlives this.
  void answers_go_to(Asker asker, UpstreamAnswers& who);

  /// Asks `query`'s question. `needs_whole`: a truncated answer is not enough. False where there is
  /// no upstream or no room; then nothing is sent. `key` has no question under way.
  [[nodiscard]] bool ask(Instant now, const QueryKey& key, const DnsQuery& query, bool needs_whole);
  /// The asker no longer wants to know.
  void cancel(const QueryKey& key);

  /// kDns. True where more may be waiting.
  bool on_socket(Instant now, const SocketOwner& owner, const Readiness& readiness);
  [[nodiscard]] Instant next_deadline() const;
  void on_deadline(Instant now);

  /// What is under way is asked again at once where the list is another one.
  void set_upstreams(Instant now, std::span<const Endpoint> upstreams);
  [[nodiscard]] bool has_upstreams() const { return !upstreams_.empty(); }

  [[nodiscard]] std::size_t in_flight() const { return queries_.size(); }

 private:
  // The longest query of ours: header, name, type and class, an OPT record.
  static constexpr std::size_t kMaxQuery = kDnsHeaderOctets + kLongestDnsName + 4 + 11;
  static constexpr std::size_t kStreamPrefix = 2;  // the length before a message, RFC 1035 4.2.2
  enum List : std::uint8_t { kListDatagram, kListStream, kListFailed, kLists };
  enum class Transport : std::uint8_t { kDatagram, kStreamDialling, kStream };
  struct Query {
    // Room for the length in front, for TCP.
    std::array<std::uint8_t, kStreamPrefix + kMaxQuery> octets{};
    std::uint16_t size = 0;      // of the message
    std::uint16_t upstream = 0;  // that was asked last
    std::uint16_t tries = 0;     // upstreams that were asked, one after the other, up to that one
    std::uint16_t refusals = 0;  // at once, since one was last waited for in vain
    Transport transport = Transport::kDatagram;
    bool needs_whole = false;
    std::int16_t buffer = -1;
    std::array<SocketHandle, 2> datagrams;  // of each family, where it was asked by that
    SocketHandle stream;
    Instant began{};
  };
  // A response that comes in pieces.
  struct StreamBuffer {
    std::array<std::uint8_t, kStreamPrefix + kLongestDnsMessage> octets;
    std::size_t size;
  };
  struct Free {
    // NOLINTNEXTLINE(cppcoreguidelines-no-malloc): it is calloc() that gives pages unwritten
    void operator()(void* memory) const { std::free(memory); }
  };
  class Inbox;

  [[nodiscard]] static Bytes message(const Query& query) {
    return Bytes(query.octets).subspan(kStreamPrefix, query.size);
  }
  [[nodiscard]] std::optional<std::uint16_t> asked_upstream(const Query& query,
                                                            const Endpoint& peer) const;
  void begin(Instant now, FlowId id);
  bool send_datagram(FlowId id);
  void try_next(Instant now, FlowId id);
  bool read_datagrams(Instant now, FlowId id, SocketHandle socket, bool has_error);
  void on_datagram(Instant now, FlowId id, const ReceivedDatagram& datagram);
  void on_failure(Instant now, FlowId id, std::uint16_t upstream, Bytes response);
  void begin_stream(Instant now, FlowId id);
  void on_stream(Instant now, FlowId id);
  void read_stream(Instant now, FlowId id);
  void stream_failed(Instant now, FlowId id);
  void deliver(Instant now, FlowId id, Bytes response);
  void close_sockets(Query& query);
  void give_buffer(Query& query);

  UpstreamSeams seams_;
  std::vector<Endpoint> upstreams_;
  FlowTable<QueryKey, Query, kLists> queries_;
  std::array<UpstreamAnswers*, 2> askers_{};
  std::unique_ptr<StreamBuffer[], Free> buffers_;
  std::vector<std::int16_t> free_buffers_;
  std::uint16_t preferred_ = 0;  // the upstream that answered last
};

}  // namespace cordon
