#include "netstack/names/http_request.h"

#include <algorithm>
#include <charconv>
#include <string_view>

#include "netstack/base/text.h"
#include "netstack/names/host_name.h"

namespace cordon {
namespace {

using Checked = std::expected<void, HttpFault>;

// A line of a chunked body: a size and extensions that nobody uses.
constexpr std::size_t kLongestChunkLine = 4096;
// 60 bits: a sum of such sizes and a head cannot overflow.
constexpr std::size_t kMostSizeDigits = 15;
// As many decimal digits as always fit 63 bits.
constexpr std::size_t kMostLengthDigits = 18;

char lower(char character) {
  return character >= 'A' && character <= 'Z' ? static_cast<char>(character + ('a' - 'A'))
                                              : character;
}

bool is_equal(std::string_view one, std::string_view other) {
  return std::equal(one.begin(), one.end(), other.begin(), other.end(),
                    [](char a, char b) { return lower(a) == lower(b); });
}

bool contains(std::string_view text, std::string_view word) {
  for (std::size_t i = 0; i + word.size() <= text.size(); ++i) {
    if (is_equal(text.substr(i, word.size()), word)) return true;
  }
  return false;
}

// RFC 9110 section 5.6.2.
bool is_token_character(char character) {
  const char letter = lower(character);
  return (letter >= 'a' && letter <= 'z') || is_digit(character) ||
         std::string_view("!#$%&'*+-.^_`|~").find(character) != std::string_view::npos;
}

bool is_token(std::string_view text) {
  return !text.empty() && std::ranges::all_of(text, is_token_character);
}

// RFC 9110 section 5.5: what may stand in a field's value. Octets past ASCII are opaque.
bool is_value_character(char character) {
  return character == '\t' || (static_cast<unsigned char>(character) >= ' ' && character != 0x7f);
}

bool is_visible(char character) { return character > ' ' && character < 0x7f; }

// White space to the most lenient reader of a request line (RFC 9112 section 3).
bool is_space(char character) {
  return character == ' ' || character == '\t' || character == '\v' || character == '\f' ||
         character == '\r';
}

std::string_view trim(std::string_view text) {
  const auto is_blank = [](char character) { return character == ' ' || character == '\t'; };
  while (!text.empty() && is_blank(text.front())) text.remove_prefix(1);
  while (!text.empty() && is_blank(text.back())) text.remove_suffix(1);
  return text;
}

// Takes a line off the front, without its CRLF. A lone CR or LF is never a line's end.
std::expected<std::string_view, HttpFault> take_line(std::string_view& rest) {
  const std::size_t end = rest.find_first_of("\r\n");
  if (end == std::string_view::npos) return std::unexpected(HttpFault::kIncomplete);
  if (rest[end] == '\n') return std::unexpected(HttpFault::kMalformed);
  if (end + 1 == rest.size()) return std::unexpected(HttpFault::kIncomplete);
  if (rest[end + 1] != '\n') return std::unexpected(HttpFault::kMalformed);
  const std::string_view line = rest.substr(0, end);
  rest.remove_prefix(end + 2);
  return line;
}

// uri-host [ ":" port ]. Only a name: an address is nobody's name.
std::optional<DnsName> read_authority(std::string_view text) {
  const std::size_t colon = text.find(':');
  if (colon != std::string_view::npos) {
    const std::string_view port = text.substr(colon + 1);
    if (port.size() > 5 || !std::ranges::all_of(port, is_digit)) return std::nullopt;
    text = text.substr(0, colon);
  }
  return parse_host_name(text);
}

struct Field {
  std::string_view name;
  std::string_view value;
};

std::expected<Field, HttpFault> read_field(std::string_view line) {
  const std::size_t colon = line.find(':');
  if (colon == std::string_view::npos) return std::unexpected(HttpFault::kMalformed);
  const Field field{.name = line.substr(0, colon), .value = trim(line.substr(colon + 1))};
  // A folded line begins with white space, and so has no token for a name.
  if (!is_token(field.name) || !std::ranges::all_of(field.value, is_value_character)) {
    return std::unexpected(HttpFault::kMalformed);
  }
  return field;
}

// What the lines of a head add up to.
class HeadReader {
 public:
  Checked read_request_line(std::string_view line);
  Checked read_field_line(std::string_view line);
  std::expected<HttpRequestHead, HttpFault> finish() const;

 private:
  Checked read_target(std::string_view method, std::string_view target);
  Checked read_host(std::string_view value);
  Checked read_length(std::string_view value);
  Checked read_coding(std::string_view value);

  HttpRequestHead head_;
  std::optional<DnsName> target_host_;
  bool is_version_1_0_ = false;
  bool has_host_ = false;
  bool has_length_ = false;
};

Checked HeadReader::read_request_line(std::string_view line) {
  const std::size_t method_end = line.find(' ');
  const std::string_view method = line.substr(0, method_end);
  if (!is_token(method) || method_end == std::string_view::npos) {
    return std::unexpected(HttpFault::kMalformed);
  }
  const std::string_view rest = line.substr(method_end + 1);
  const std::size_t target_end = rest.find(' ');
  const std::string_view target = rest.substr(0, target_end);
  if (target_end == std::string_view::npos) return std::unexpected(HttpFault::kVersion09);
  const std::string_view version = rest.substr(target_end + 1);
  if (version == "HTTP/2.0") return std::unexpected(HttpFault::kVersion2);
  if (version != "HTTP/1.1" && version != "HTTP/1.0") return std::unexpected(HttpFault::kMalformed);
  is_version_1_0_ = version == "HTTP/1.0";
  return read_target(method, target);
}

// RFC 9112 section 3.2.
Checked HeadReader::read_target(std::string_view method, std::string_view target) {
  if (is_equal(method, "CONNECT")) return std::unexpected(HttpFault::kConnect);
  if (target.empty() || !std::ranges::all_of(target, is_visible)) {
    return std::unexpected(HttpFault::kMalformed);
  }
  if (target.front() == '/' || target == "*") return {};
  const std::size_t scheme_end = target.find("://");
  if (scheme_end == std::string_view::npos) return std::unexpected(HttpFault::kMalformed);
  const std::string_view scheme = target.substr(0, scheme_end);
  if (!is_equal(scheme, "http") && !is_equal(scheme, "https")) {
    return std::unexpected(HttpFault::kMalformed);
  }
  const std::string_view rest = target.substr(scheme_end + 3);
  // Somebody may read a backslash as a slash, and what stands before an @ is not the host.
  target_host_ = read_authority(rest.substr(0, rest.find_first_of("/?#\\@")));
  const std::size_t end = rest.find_first_of("/?#\\@");
  const bool is_plain = end == std::string_view::npos || rest[end] == '/' || rest[end] == '?';
  if (!target_host_ || !is_plain) return std::unexpected(HttpFault::kHost);
  return {};
}

Checked HeadReader::read_field_line(std::string_view line) {
  const std::expected<Field, HttpFault> field = read_field(line);
  if (!field) return std::unexpected(field.error());
  if (is_equal(field->name, "Host")) return read_host(field->value);
  if (is_equal(field->name, "Content-Length")) return read_length(field->value);
  if (is_equal(field->name, "Transfer-Encoding")) return read_coding(field->value);
  if (is_equal(field->name, "Upgrade")) {
    head_.has_upgrade = true;
    // Protocol names compare with their case, but servers are lenient.
    head_.is_upgrade_to_http2 = head_.is_upgrade_to_http2 || contains(field->value, "h2") ||
                                contains(field->value, "HTTP/2");
  }
  return {};
}

Checked HeadReader::read_host(std::string_view value) {
  if (has_host_) return std::unexpected(HttpFault::kHost);
  has_host_ = true;
  head_.host = read_authority(value);
  if (!head_.host) return std::unexpected(HttpFault::kHost);
  return {};
}

Checked HeadReader::read_length(std::string_view value) {
  if (has_length_ || value.empty() || value.size() > kMostLengthDigits ||
      !std::ranges::all_of(value, is_digit)) {
    return std::unexpected(HttpFault::kFraming);
  }
  has_length_ = true;
  (void)std::from_chars(value.data(), value.data() + value.size(), head_.body_octets);
  return {};
}

Checked HeadReader::read_coding(std::string_view value) {
  if (head_.is_chunked || !is_equal(value, "chunked")) return std::unexpected(HttpFault::kFraming);
  head_.is_chunked = true;
  return {};
}

std::expected<HttpRequestHead, HttpFault> HeadReader::finish() const {
  // RFC 9112 section 6.1: one that has both, or that has a coding in HTTP/1.0, is an attack or a
  // mistake.
  if (head_.is_chunked && (has_length_ || is_version_1_0_)) {
    return std::unexpected(HttpFault::kFraming);
  }
  // RFC 9112 section 3.2: HTTP/1.1 always has one.
  if (!has_host_ && !is_version_1_0_) return std::unexpected(HttpFault::kHost);
  HttpRequestHead head = head_;
  if (target_host_) {
    if (head.host && !(*head.host == *target_host_)) return std::unexpected(HttpFault::kHost);
    head.host = target_host_;
  }
  return head;
}

// The first word that could be a version, wherever it stands: white space, and "HTTP/".
bool has_version(std::string_view line) {
  for (std::size_t i = 1; i + 5 <= line.size(); ++i) {
    if (is_space(line[i - 1]) && is_equal(line.substr(i, 5), "HTTP/")) return true;
  }
  return false;
}

// Whether a chunk's line that is not there yet may be, after `waiting` octets without its end.
bool may_line_come(HttpFault fault, std::size_t waiting) {
  return fault != HttpFault::kMalformed && waiting <= kLongestChunkLine;
}

std::expected<std::uint64_t, HttpFault> read_chunk_size(std::string_view line) {
  const auto digits = static_cast<std::size_t>(
      std::ranges::find_if_not(line,
                               [](char character) {
                                 const char letter = lower(character);
                                 return is_digit(character) || (letter >= 'a' && letter <= 'f');
                               }) -
      line.begin());
  const std::string_view extensions = line.substr(digits);
  const bool is_plain = extensions.empty() || trim(extensions).starts_with(';');
  if (digits == 0 || digits > kMostSizeDigits || !is_plain ||
      !std::ranges::all_of(extensions, is_value_character)) {
    return std::unexpected(HttpFault::kFraming);
  }
  std::uint64_t size = 0;
  (void)std::from_chars(line.data(), line.data() + digits, size, 16);
  return size;
}

// A trailer that changes whom the request is for, or where it ends, is not for a trailer.
Checked check_trailer(std::string_view line) {
  const std::expected<Field, HttpFault> field = read_field(line);
  if (!field) return std::unexpected(HttpFault::kFraming);
  for (const char* const name : {"Host", "Content-Length", "Transfer-Encoding"}) {
    if (is_equal(field->name, name)) return std::unexpected(HttpFault::kFraming);
  }
  return {};
}

}  // namespace

HttpGuess guess_http(Bytes stream, bool is_all) {
  std::string_view text = as_text(stream);
  const std::size_t begin = text.find_first_not_of("\r\n");
  if (begin == std::string_view::npos) return is_all ? HttpGuess::kOther : HttpGuess::kUndecided;
  text.remove_prefix(begin);
  // Decided in the order of the octets, so that it is the same however few of them are there: the
  // first word, then a version, then what ends the line. No server reads on behind a NUL; other
  // control characters end nothing.
  const std::size_t end = text.find_first_of(std::string_view("\n\0", 2));
  const std::string_view line = text.substr(0, end);
  const std::string_view word =
      line.substr(0, static_cast<std::size_t>(std::ranges::find_if(line, is_space) - line.begin()));
  if (!word.empty() && !is_token(word)) return HttpGuess::kOther;
  if (has_version(line)) return HttpGuess::kHttp;
  if (line.size() > 3 && is_equal(line.substr(0, 3), "GET") && is_space(line[3])) {
    return HttpGuess::kHttp;
  }
  return is_all || end != std::string_view::npos ? HttpGuess::kOther : HttpGuess::kUndecided;
}

HttpGuess guess_http_inside_line(Bytes stream, bool is_all) {
  const std::string_view text = as_text(stream);
  const std::size_t end = text.find_first_of(std::string_view("\n\0", 2));
  if (has_version(text.substr(0, end))) return HttpGuess::kHttp;
  return is_all || end != std::string_view::npos ? HttpGuess::kOther : HttpGuess::kUndecided;
}

std::expected<HttpRequestHead, HttpFault> parse_http_request(Bytes stream) {
  std::string_view rest = as_text(stream);
  HeadReader reader;
  bool has_request_line = false;
  while (true) {
    const std::expected<std::string_view, HttpFault> line = take_line(rest);
    if (!line) return std::unexpected(line.error());
    if (line->empty() && has_request_line) break;
    if (line->empty()) continue;
    const Checked read =
        has_request_line ? reader.read_field_line(*line) : reader.read_request_line(*line);
    if (!read) return std::unexpected(read.error());
    has_request_line = true;
  }
  std::expected<HttpRequestHead, HttpFault> head = reader.finish();
  if (head) head->octets = stream.size() - rest.size();
  return head;
}

std::expected<ChunkedBody::Step, HttpFault> ChunkedBody::advance(Bytes stream) {
  const std::string_view text = as_text(stream);
  std::uint64_t done = 0;
  while (done < text.size()) {
    std::string_view rest = text.substr(done);
    const std::expected<std::string_view, HttpFault> line = take_line(rest);
    if (!line) {
      if (may_line_come(line.error(), text.size() - done)) break;
      return std::unexpected(HttpFault::kFraming);
    }
    const std::size_t line_octets = line->size() + 2;
    if (expects_ == Expects::kDataEnd) {
      if (!line->empty()) return std::unexpected(HttpFault::kFraming);
      expects_ = Expects::kSize;
      done += line_octets;
      continue;
    }
    if (expects_ == Expects::kTrailer) {
      done += line_octets;
      if (line->empty()) return Step{.octets = done, .is_end = true};
      if (const Checked checked = check_trailer(*line); !checked) {
        return std::unexpected(checked.error());
      }
      continue;
    }
    const std::expected<std::uint64_t, HttpFault> size = read_chunk_size(*line);
    if (!size) return std::unexpected(size.error());
    expects_ = *size == 0 ? Expects::kTrailer : Expects::kDataEnd;
    done += line_octets + *size;
  }
  if (done == 0) return std::unexpected(HttpFault::kIncomplete);
  return Step{.octets = done};
}

std::expected<HttpAnswer, HttpFault> parse_http_answer(Bytes stream) {
  constexpr std::string_view kVersion = "HTTP/1.";
  constexpr std::size_t kStatusLine = 13;  // "HTTP/1.1 101 "
  const std::string_view text = as_text(stream);
  const std::size_t known = std::min(text.size(), kVersion.size());
  if (text.substr(0, known) != kVersion.substr(0, known)) {
    return std::unexpected(HttpFault::kMalformed);
  }
  if (text.size() < kStatusLine) return std::unexpected(HttpFault::kIncomplete);
  HttpAnswer answer;
  const char* const digits = text.data() + 9;
  const auto [end, error] = std::from_chars(digits, digits + 3, answer.status);
  if (!is_digit(text[7]) || text[8] != ' ' || is_digit(text[12]) || error != std::errc() ||
      end != digits + 3) {
    return std::unexpected(HttpFault::kMalformed);
  }
  // A client ends a head where the first empty line is, with CRs or without.
  const std::size_t crlf = text.find("\n\r\n");
  const std::size_t lf = text.find("\n\n");
  if (crlf != std::string_view::npos) answer.head_octets = crlf + 3;
  if (lf < crlf) answer.head_octets = lf + 2;
  return answer;
}

}  // namespace cordon
