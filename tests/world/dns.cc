#include "tests/world/dns.h"

#include <gtest/gtest.h>

namespace cordon::world {
namespace {

void put16(Octets& out, unsigned value) {
  out.push_back(static_cast<std::uint8_t>(value >> 8));
  out.push_back(static_cast<std::uint8_t>(value));
}
std::uint16_t get16(const Octets& in, std::size_t at) {
  return static_cast<std::uint16_t>((in.at(at) << 8) | in.at(at + 1));
}

// Where the name at `at` ends.
std::size_t skip_name(const Octets& in, std::size_t at) {
  while (in.at(at) != 0) {
    if (in.at(at) >= 0xc0) return at + 2;
    at += in.at(at) + 1U;
  }
  return at + 1;
}

}  // namespace

Octets dns_query(std::uint16_t id, std::string_view name, std::uint16_t type, std::uint16_t edns) {
  Octets out;
  put16(out, id);
  put16(out, 0x0100);
  put16(out, 1);
  put16(out, 0);
  put16(out, 0);
  put16(out, edns == 0 ? 0 : 1);
  while (!name.empty()) {
    const std::size_t dot = std::min(name.find('.'), name.size());
    out.push_back(static_cast<std::uint8_t>(dot));
    out.insert(out.end(), name.begin(), name.begin() + static_cast<std::ptrdiff_t>(dot));
    name.remove_prefix(std::min(dot + 1, name.size()));
  }
  out.push_back(0);
  put16(out, type);
  put16(out, 1);
  if (edns != 0) {
    out.push_back(0);
    put16(out, 41);
    put16(out, edns);
    put16(out, 0);
    put16(out, 0);
    put16(out, 0);
  }
  return out;
}

Octets dns_answer(const Octets& query, std::uint8_t rcode,
                  const std::vector<std::string>& addresses) {
  const std::size_t question = skip_name(query, 12) + 4;
  Octets out(query.begin(), query.begin() + static_cast<std::ptrdiff_t>(question));
  out[2] = 0x81;
  out[3] = static_cast<std::uint8_t>(0x80 | rcode);
  out[7] = static_cast<std::uint8_t>(addresses.size());
  out[6] = static_cast<std::uint8_t>(addresses.size() >> 8);
  out[10] = out[11] = 0;
  for (const std::string& text : addresses) {
    const IpAddress parsed = address(text);
    put16(out, 0xc00c);
    put16(out, parsed.is_v4() ? 1 : 28);
    put16(out, 1);
    put16(out, 0);
    put16(out, 60);
    put16(out, static_cast<unsigned>(parsed.octets().size()));
    out.insert(out.end(), parsed.octets().begin(), parsed.octets().end());
  }
  return out;
}

DnsSeen read_dns(const Octets& message) {
  DnsSeen seen;
  if (message.size() < 12) {
    ADD_FAILURE() << "a DNS message of " << message.size() << " octets";
    return seen;
  }
  seen.id = get16(message, 0);
  seen.is_response = (message[2] & 0x80) != 0;
  seen.is_truncated = (message[2] & 0x02) != 0;
  seen.is_recursion_desired = (message[2] & 0x01) != 0;
  seen.rcode = message[3] & 0x0f;
  seen.answers = get16(message, 6);
  std::size_t at = 12;
  if (get16(message, 4) == 1) {
    for (; message.at(at) != 0; at += message.at(at) + 1U) {
      if (!seen.name.empty()) seen.name += '.';
      seen.name.append(message.begin() + static_cast<std::ptrdiff_t>(at + 1),
                       message.begin() + static_cast<std::ptrdiff_t>(at + 1 + message.at(at)));
    }
    seen.type = get16(message, at + 1);
    at += 5;
  }
  const unsigned records = seen.answers + get16(message, 8) + get16(message, 10);
  for (unsigned i = 0; i < records; ++i) {
    at = skip_name(message, at);
    const std::uint16_t type = get16(message, at);
    const std::size_t size = get16(message, at + 8);
    const std::size_t data = at + 10;
    if (type == 1 || type == 28) {
      seen.addresses.push_back(IpAddress::from_octets(Bytes(message).subspan(data, size)));
    } else if (type == 41) {
      seen.edns_octets = get16(message, at + 2);
      if (size >= 6 && get16(message, data) == 15) seen.extended_error = get16(message, data + 4);
    }
    at = data + size;
  }
  EXPECT_EQ(at, message.size()) << "octets behind the last record";
  return seen;
}

}  // namespace cordon::world
