#include "netstack/names/first_flight.h"

#include <algorithm>
#include <array>
#include <span>

#include <fmt/format.h>

namespace cordon {
namespace {

Look wait() { return Look{}; }
Look deny(FlightFault fault) { return Look{.kind = Look::Kind::kDeny, .fault = fault}; }
Look pass(std::uint64_t octets) { return Look{.kind = Look::Kind::kPass, .octets = octets}; }

// No more octets than these will ever be there to understand the flight by.
FlightFault unfinished(Bytes waiting) {
  return waiting.size() >= kLongestFirstFlight ? FlightFault::kTooLong : FlightFault::kEnded;
}

bool is_last_look(Bytes waiting, bool is_all) {
  return is_all || waiting.size() >= kLongestFirstFlight;
}

// A record's type and version; whatever has them right means to speak TLS.
constexpr std::size_t kTlsVersionEnd = 3;

FlightFault fault_of(HttpFault fault) {
  switch (fault) {
    case HttpFault::kIncomplete:
    case HttpFault::kMalformed:
    case HttpFault::kVersion09:
    case HttpFault::kHost:
    case HttpFault::kFraming:
      return FlightFault::kBadRequest;
    case HttpFault::kVersion2:
    case HttpFault::kConnect:
      return FlightFault::kTunnel;
  }
  return FlightFault::kBadRequest;
}

}  // namespace

Look FirstFlight::go_opaque() {
  phase_ = Phase::kOpaque;
  return Look{.kind = Look::Kind::kOpaque};
}

Look FirstFlight::look(Bytes waiting, bool is_all, bool is_overdue) {
  // An end without a word says nothing about anybody; it only passes on.
  if (waiting.empty()) return is_all ? go_opaque() : wait();
  switch (phase_) {
    case Phase::kOpaque:
      return go_opaque();
    case Phase::kStart:
      return look_at_start(waiting, is_all, is_overdue);
    case Phase::kReleased:
      return look_behind_released(waiting, is_all);
    case Phase::kTlsAnswer:
      return look_past_early_data(waiting);
    case Phase::kSecondHello:
      return look_for_second_hello(waiting, is_all);
    case Phase::kHttpHead:
      return look_at_request(waiting, is_all);
    case Phase::kHttpChunks:
      return look_at_chunks(waiting, is_all);
    case Phase::kHttpAnswer:
      return wait();
  }
  return deny(FlightFault::kBadRequest);
}

Look FirstFlight::look_at_start(Bytes waiting, bool is_all, bool is_overdue) {
  const Look hello = look_at_hello(waiting, is_all);
  const bool is_half_a_header = protocol_ == Protocol::kTls && waiting.size() < kTlsVersionEnd &&
                                hello.kind == Look::Kind::kWait;
  if (protocol_ == Protocol::kTls && !is_half_a_header) return hello;
  const bool is_last = is_last_look(waiting, is_all);
  // What is neither: no reader of names would find one.
  const FlightFault other = rules_.needs_tls    ? FlightFault::kNotTls
                            : rules_.needs_name ? FlightFault::kNoName
                                                : FlightFault::kNone;
  const HttpGuess guess = is_half_a_header ? HttpGuess::kUndecided : guess_http(waiting, is_last);
  switch (guess) {
    case HttpGuess::kUndecided:
      if (!is_overdue) return Look{.is_undecided = true};
      return other == FlightFault::kNone ? release(waiting) : deny(other);
    case HttpGuess::kOther:
      return other == FlightFault::kNone ? go_opaque() : deny(other);
    case HttpGuess::kHttp:
      protocol_ = Protocol::kHttp;
      phase_ = Phase::kHttpHead;
      return rules_.needs_tls ? deny(FlightFault::kNotTls) : look_at_request(waiting, is_all);
  }
  return deny(FlightFault::kBadRequest);
}

Look FirstFlight::release(Bytes waiting) {
  phase_ = Phase::kReleased;
  protocol_ = Protocol::kUnknown;
  const Bytes last = waiting.last(std::min(waiting.size(), released_.size()));
  const std::size_t kept = std::min<std::size_t>(released_octets_, released_.size() - last.size());
  // Behind one another, the last of all at the end of what there is.
  const std::size_t before = std::min<std::size_t>(released_octets_, released_.size());
  std::copy_n(released_.begin() + static_cast<std::ptrdiff_t>(before - kept), kept,
              released_.begin());
  std::ranges::copy(last, released_.begin() + static_cast<std::ptrdiff_t>(kept));
  released_octets_ = static_cast<std::uint16_t>(released_octets_ + waiting.size());
  return pass(waiting.size());
}

Look FirstFlight::look_behind_released(Bytes waiting, bool is_all) {
  const std::size_t room = kLongestFirstFlight - released_octets_;
  waiting = waiting.first(std::min(waiting.size(), room));
  const std::size_t kept = std::min<std::size_t>(released_octets_, released_.size());
  std::array<std::uint8_t, kLongestFirstFlight + std::tuple_size_v<decltype(released_)>>
      joined;  // NOLINT: only what is copied is read
  std::copy_n(released_.begin(), kept, joined.begin());
  std::ranges::copy(waiting, joined.begin() + static_cast<std::ptrdiff_t>(kept));
  const Bytes text = Bytes(joined).first(kept + waiting.size());
  const bool is_last = is_all || waiting.size() == room;
  const bool is_whole = released_octets_ <= released_.size();
  if (is_whole) {
    const std::expected<ClientHello, HelloFault> hello = parse_client_hello(text);
    const bool is_tls = hello || hello.error() != HelloFault::kNotTls;
    if (is_tls && text.size() >= kTlsVersionEnd) {
      protocol_ = Protocol::kTls;
      return deny(FlightFault::kPaused);
    }
    if (is_tls) return is_last ? go_opaque() : release(waiting);
  }
  const HttpGuess guess =
      is_whole ? guess_http(text, is_last) : guess_http_inside_line(text, is_last);
  switch (guess) {
    case HttpGuess::kUndecided:
      return release(waiting);
    case HttpGuess::kOther:
      return go_opaque();
    case HttpGuess::kHttp:
      break;
  }
  protocol_ = Protocol::kHttp;
  return deny(FlightFault::kPaused);
}

// Where protocol_ is not kTls afterwards, it is no hello.
Look FirstFlight::look_at_hello(Bytes waiting, bool is_all) {
  const std::expected<ClientHello, HelloFault> hello = parse_client_hello(waiting);
  const bool is_tls = hello || hello.error() != HelloFault::kNotTls;
  protocol_ = is_tls ? Protocol::kTls : Protocol::kUnknown;
  if (!is_tls) return Look{.kind = Look::Kind::kOpaque};
  if (!hello) {
    switch (hello.error()) {
      case HelloFault::kIncomplete:
        return is_all ? deny(FlightFault::kEnded) : wait();
      case HelloFault::kTooLong:
        return deny(FlightFault::kTooLong);
      case HelloFault::kNotTls:
      case HelloFault::kMalformed:
      case HelloFault::kBadName:
        return deny(FlightFault::kBadHello);
    }
  }
  phase_ = Phase::kTlsAnswer;
  has_early_data_ = hello->has_early_data;
  Look look = pass(hello->octets);
  if (hello->has_encrypted_hello) {
    if (rules_.ech == NameSettings::Ech::kDeny) return deny(FlightFault::kEncryptedHello);
    if (rules_.ech == NameSettings::Ech::kIgnore) return look;
  }
  if (!rules_.checks_names) return go_opaque();
  if (!hello->name && rules_.needs_name) return deny(FlightFault::kNoName);
  look.name = hello->name;
  return look;
}

// Between the hello and the answer a client has nothing to say but 0-RTT (RFC 8446 section 2.3),
// with a change_cipher_spec record for old middleboxes before it.
Look FirstFlight::look_past_early_data(Bytes waiting) const {
  const std::optional<TlsRecord> record = first_tls_record(waiting);
  const bool may_pass = record && has_early_data_ &&
                        (record->content_type == tls_content::kApplicationData ||
                         record->content_type == tls_content::kChangeCipherSpec);
  return may_pass ? pass(record->octets) : wait();
}

Look FirstFlight::look_for_second_hello(Bytes waiting, bool is_all) {
  if (waiting[0] == tls_content::kHandshake) {
    const Look hello = look_at_hello(waiting, is_all);
    return hello.kind == Look::Kind::kOpaque ? deny(FlightFault::kBadHello) : hello;
  }
  const std::optional<TlsRecord> record = first_tls_record(waiting);
  if (record) return pass(record->octets);
  return is_all ? deny(FlightFault::kEnded) : wait();
}

Look FirstFlight::look_at_request(Bytes waiting, bool is_all) {
  const std::expected<HttpRequestHead, HttpFault> head = parse_http_request(waiting);
  if (!head) {
    if (head.error() != HttpFault::kIncomplete) return deny(fault_of(head.error()));
    const bool is_last = is_last_look(waiting, is_all);
    // Behind a request only requests can come; who waits for an answer to anything else shall hear.
    const bool is_hopeless = guess_http(waiting, false) == HttpGuess::kOther;
    if (is_hopeless) return deny(FlightFault::kBadRequest);
    return is_last ? deny(unfinished(waiting)) : wait();
  }
  if (!rules_.checks_names) return go_opaque();
  if (!head->host && rules_.needs_name) return deny(FlightFault::kNoName);
  has_upgrade_ = head->has_upgrade && requests_ == 0;
  is_upgrade_to_http2_ = head->is_upgrade_to_http2;
  requests_ = static_cast<std::uint8_t>(requests_ == 0 ? 1 : 2);
  chunks_ = ChunkedBody();
  if (head->is_chunked) {
    phase_ = Phase::kHttpChunks;
  } else {
    request_passed();
  }
  Look look = pass(head->octets + head->body_octets);
  look.name = head->host;
  return look;
}

Look FirstFlight::look_at_chunks(Bytes waiting, bool is_all) {
  const std::expected<ChunkedBody::Step, HttpFault> step = chunks_.advance(waiting);
  if (!step) {
    if (step.error() != HttpFault::kIncomplete) return deny(FlightFault::kBadRequest);
    return is_last_look(waiting, is_all) ? deny(unfinished(waiting)) : wait();
  }
  if (step->is_end) request_passed();
  return pass(step->octets);
}

void FirstFlight::request_passed() {
  phase_ = has_upgrade_ ? Phase::kHttpAnswer : Phase::kHttpHead;
}

Look FirstFlight::on_answer(Bytes waiting, bool is_all) {
  const bool is_last = is_last_look(waiting, is_all);
  if (phase_ == Phase::kTlsAnswer) {
    const ServerAnswer answer = read_server_answer(waiting);
    if (answer == ServerAnswer::kIncomplete && !is_last) return wait();
    phase_ = answer == ServerAnswer::kRetry ? Phase::kSecondHello : Phase::kOpaque;
    return Look{.kind = Look::Kind::kOpaque};
  }
  const std::expected<HttpAnswer, HttpFault> answer = parse_http_answer(waiting);
  const bool is_known = answer && (answer->status / 100 != 1 || answer->status == 101);
  const bool is_interim = answer && !is_known;
  const bool is_incomplete =
      answer ? is_interim && answer->head_octets == 0 : answer.error() == HttpFault::kIncomplete;
  if (is_incomplete && !is_last) return wait();
  if (is_interim && answer->head_octets != 0) return pass(answer->head_octets);
  if (is_known && answer->status == 101) {
    // HTTP/2 has requests of its own, each with a host of its own, and nobody here reads them.
    if (is_upgrade_to_http2_) return deny(FlightFault::kTunnel);
    return go_opaque();
  }
  has_upgrade_ = false;
  phase_ = Phase::kHttpHead;
  return Look{.kind = Look::Kind::kOpaque};
}

namespace {

std::size_t write_alert(MutableBytes out) {
  // A record with a fatal alert (2), access_denied (49); RFC 8446 section 6.
  constexpr std::array<std::uint8_t, 7> kAlert = {tls_content::kAlert, 3, 3, 0, 2, 2, 49};
  if (out.size() < kAlert.size()) return 0;
  std::ranges::copy(kAlert, out.begin());
  return kAlert.size();
}

// The body's lines, each whole or not at all. The first and the last ones always fit.
class Lines {
 public:
  explicit Lines(std::span<char> out) : out_(out) {}

  template <class... Parts>
  void add(fmt::format_string<Parts...> format, const Parts&... parts) {
    const std::span<char> left = out_.subspan(size_);
    const auto written = fmt::vformat_to_n(left.data(), left.size(), fmt::string_view(format),
                                           fmt::make_format_args(parts...));
    if (written.size <= left.size()) size_ += written.size;
  }
  [[nodiscard]] std::string_view text() const { return {out_.data(), size_}; }

 private:
  std::span<char> out_;
  std::size_t size_ = 0;
};

// As on stderr, and in the order in which a person asks.
constexpr std::string_view kRule = "first-flight";

void add_names(Lines& lines, const FlightRefusal& refusal) {
  if (!refusal.dialled.empty()) {
    lines.add("connection opened to: {}{}{}\n", refusal.dialled,
              refusal.dialled_rule.empty() ? "" : ", allowed by ", refusal.dialled_rule);
  }
  if (!refusal.named.empty()) {
    lines.add("request names: {}{}{}\n", refusal.named, refusal.named_rule.empty() ? "" : ", ",
              refusal.named_rule);
  }
}

std::size_t write_forbidden(MutableBytes out, const FlightRefusal& refusal) {
  constexpr std::string_view kHead =
      "HTTP/1.1 403 Forbidden\r\n"
      "Content-Type: text/plain; charset=utf-8\r\n"
      "Content-Length: {}\r\n"
      "Cache-Control: no-store\r\n"
      "Connection: close\r\n"
      "\r\n"
      "{}";
  std::array<char, kLongestFlightRefusal - kHead.size()> body{};
  std::array<char, kLongestRemedy + 64> last{};
  Lines tail(last);
  if (!refusal.remedy.empty()) tail.add("to allow it: {}\n", refusal.remedy);
  tail.add("denial id={}\n", refusal.denial_id);
  // What the tail needs is kept free for it.
  const std::span<char> room(body);
  Lines lines(room.first(room.size() - tail.text().size()));
  lines.add("cordon: denied: this request {}.\n", describe(refusal.fault));
  lines.add("rule: {}\n", kRule);
  add_names(lines, refusal);
  const std::size_t size = lines.text().size();
  std::ranges::copy(tail.text(), body.begin() + static_cast<std::ptrdiff_t>(size));
  const std::size_t whole_size = size + tail.text().size();
  const auto whole = fmt::format_to_n(reinterpret_cast<char*>(out.data()), out.size(), kHead,
                                      whole_size, std::string_view(body.data(), whole_size));
  return whole.size > out.size() ? 0 : whole.size;
}

}  // namespace

std::size_t write_flight_refusal(MutableBytes out, FirstFlight::Protocol protocol,
                                 const FlightRefusal& refusal) {
  switch (protocol) {
    case FirstFlight::Protocol::kTls:
      return write_alert(out);
    case FirstFlight::Protocol::kHttp:
      return write_forbidden(out, refusal);
    case FirstFlight::Protocol::kUnknown:
      break;
  }
  return 0;
}

}  // namespace cordon
