// The beginning of a TLS stream. The first octet says how the stream is cut: into what a reader
// sees at a time, and into records.
#include <optional>

#include "netstack/names/client_hello.h"
#include "netstack/names/first_flight.h"
#include "tests/fuzz/fuzz_support.h"

namespace {

using namespace cordon;
using fuzz::check;

// The handshake octets of a stream's records, in records of `size`.
std::optional<std::vector<std::uint8_t>> cut_again(Bytes stream, std::size_t size) {
  std::vector<std::uint8_t> message;
  while (!stream.empty()) {
    const std::optional<TlsRecord> record = first_tls_record(stream);
    if (!record || record->octets > stream.size()) return std::nullopt;
    const Bytes fragment = stream.first(record->octets).subspan(kTlsRecordHeader);
    message.insert(message.end(), fragment.begin(), fragment.end());
    stream = stream.subspan(record->octets);
  }
  std::vector<std::uint8_t> out;
  for (std::size_t i = 0; i < message.size(); i += size) {
    const std::size_t length = std::min(size, message.size() - i);
    for (const std::size_t octet :
         {std::size_t{22}, std::size_t{3}, std::size_t{3}, length >> 8, length & 0xff}) {
      out.push_back(static_cast<std::uint8_t>(octet));
    }
    out.insert(out.end(), message.begin() + static_cast<std::ptrdiff_t>(i),
               message.begin() + static_cast<std::ptrdiff_t>(i + length));
  }
  return out;
}

void check_hello(const std::vector<std::uint8_t>& stream, std::size_t cut) {
  const auto hello = parse_client_hello(stream);
  if (!hello) return;
  const Bytes whole = Bytes(stream).first(hello->octets);
  check(hello->octets <= stream.size() && hello->octets <= kLongestFirstFlight, "it is all there");
  check(parse_client_hello(whole).has_value(), "what is behind a hello does not count");
  const auto less = parse_client_hello(whole.first(whole.size() - 1));
  check(!less && less.error() == HelloFault::kIncomplete, "it is not there before its last octet");
  if (hello->name) {
    check(!hello->name->is_root(), "the root is no host");
    const std::string text = hello->name->to_string();
    check(text.find('\\') == std::string::npos, "a host's name needs no escapes");
    check(DnsName::parse(text) == hello->name, "a name is its text");
  }
  // However it is cut into records, it says the same; unless it grew too long.
  const auto again = cut_again(whole, cut);
  check(again.has_value(), "a hello is made of whole records");
  if (again->size() > kLongestFirstFlight) return;
  const auto same = parse_client_hello(*again);
  check(same && same->name == hello->name && same->octets == again->size() &&
            same->has_encrypted_hello == hello->has_encrypted_hello,
        "records do not matter");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  fuzz::Input input(data, size);
  const std::size_t cut = std::size_t{1} + input.octet();
  const std::vector<std::uint8_t> stream = input.rest();
  check_hello(stream, cut);
  (void)read_server_answer(stream);
  // A reader that sees more and more of it never takes back what it said.
  bool is_decided = false;
  for (std::size_t seen = 0; seen <= stream.size(); seen += cut) {
    const auto so_far = parse_client_hello(Bytes(stream).first(seen));
    const bool is_waiting = !so_far && so_far.error() == HelloFault::kIncomplete;
    check(!(is_decided && is_waiting), "a decision stays");
    is_decided = is_decided || !is_waiting;
  }
  return 0;
}
