// HTTP/1.x requests as far as they say whom they are for and where they end (RFC 9110, RFC 9112).
// Pure.
//
// A connection carries many requests, and each may name another host; so it must be known to the
// octet where one ends and the next begins. Whatever two readers could understand differently is
// refused, also where RFC 9112 lets a recipient be lenient: line ends but CRLF, folded lines,
// space before the colon, control characters, Content-Length together with Transfer-Encoding or
// given twice, codings but "chunked", a second Host, a Host that is not the host of the target.
//
// What looks like a request is decided the other way round, as leniently as the most lenient
// server: a first line that has "HTTP/" as a word, or that begins with GET. So nothing that some
// server takes for a request passes as another protocol.
//
// Not done here: what a request asks for, and answers but for their status.
#pragma once

#include <cstdint>
#include <expected>
#include <optional>

#include "netstack/base/bytes.h"
#include "netstack/wire/dns_name.h"

namespace cordon {

enum class HttpFault : std::uint8_t {
  kIncomplete,  // a request so far; there is more to come
  kMalformed,   // not to be read in one way only
  kVersion09,   // a request without a version: no host in it, no end
  kVersion2,    // HTTP/2 without an Upgrade ("prior knowledge"): requests that nobody here reads
  kConnect,     // asks for a tunnel
  kHost,        // none where there has to be one, several, or not a host's name
  kFraming,     // no one way to tell where the body ends
};

struct HttpRequestHead {
  std::size_t octets = 0;       // with the empty line at its end
  std::optional<DnsName> host;  // of Host and the target, which agree
  std::uint64_t body_octets = 0;
  bool is_chunked = false;
  bool has_upgrade = false;  // asks to go on in another protocol (RFC 9110 section 7.8)
  bool is_upgrade_to_http2 = false;
};

enum class HttpGuess : std::uint8_t { kUndecided, kHttp, kOther };

/// Whether a stream begins like a request in the eyes of any server. `is_all`: no more will be
/// there to decide by.
[[nodiscard]] HttpGuess guess_http(Bytes stream, bool is_all);
/// The same where the line began before `stream`, with octets that nobody has any more.
[[nodiscard]] HttpGuess guess_http_inside_line(Bytes stream, bool is_all);

/// Reads the head at the front of `stream`, empty lines before it included (RFC 9112 section 2.2).
[[nodiscard]] std::expected<HttpRequestHead, HttpFault> parse_http_request(Bytes stream);

/// Walks over a chunked body (RFC 9112 section 7.1). The state is what was read at the last step.
class ChunkedBody {
 public:
  struct Step {
    std::uint64_t octets = 0;  // from the front of the stream that belong to the body for certain
    bool is_end = false;       // and are its last
  };
  /// `stream` begins where the last step ended. kIncomplete: not a single octet more for now.
  [[nodiscard]] std::expected<Step, HttpFault> advance(Bytes stream);

 private:
  enum class Expects : std::uint8_t { kSize, kDataEnd, kTrailer };
  Expects expects_ = Expects::kSize;
};

struct HttpAnswer {
  unsigned status = 0;
  std::size_t head_octets = 0;  // 0: the head is not there as a whole
};

/// The status at the front of a server's stream. kIncomplete as above, kMalformed where no answer
/// begins there.
[[nodiscard]] std::expected<HttpAnswer, HttpFault> parse_http_answer(Bytes stream);

}  // namespace cordon
