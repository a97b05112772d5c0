// nftables messages, written by hand over a libnl socket (no libnftnl: three message kinds are all
// that is needed). A batch is one packet: begin, the messages, end; the kernel does all of it or
// nothing.
//
// Each expression below is one line of what `nft --debug=netlink` prints, and says so.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "netstack/base/bytes.h"
#include "netstack/base/result.h"

struct nl_sock;

namespace cordon {

/// Attributes of one rule's expression list, in the order in which they were added.
class NftExpressions {
 public:
  /// meta load oifname => reg 1
  void load_output_interface();
  /// meta load l4proto => reg 1
  void load_protocol();
  /// meta load mark => reg 1
  void load_mark();
  /// payload load `length`b @ transport header + `offset` => reg 1
  void load_transport(std::uint32_t offset, std::uint32_t length);
  /// bitwise reg 1 = ( reg 1 & mask ) ^ flips; both of the register's width, at most 4 octets
  void bitwise(Bytes mask, Bytes flips);
  /// cmp eq reg 1 `value`
  void expect_equal(Bytes value);
  /// cmp neq reg 1 `value`
  void expect_other(Bytes value);
  /// meta set mark with reg 1
  void set_mark();

  [[nodiscard]] const std::vector<std::uint8_t>& bytes() const { return list_; }

 private:
  void meta_load(std::uint32_t key);
  void compare(std::uint32_t operation, Bytes value);
  void append(std::string_view name, const std::vector<std::uint8_t>& data);
  std::vector<std::uint8_t> list_;
};

inline constexpr std::uint32_t kNftHookOutput = 3;  // NF_INET_LOCAL_OUT

struct NftBaseChain {
  std::string table;
  std::string name;
  std::string type;  // "route", "filter"
  std::uint32_t hook = 0;
  std::int32_t priority = 0;
};

class NftBatch {
 public:
  NftBatch();
  /// add table inet NAME
  void add_table(const std::string& name);
  /// delete table inet NAME
  void delete_table(const std::string& name);
  /// add chain inet TABLE NAME { type TYPE hook HOOK priority PRIORITY; policy accept; }
  void add_chain(const NftBaseChain& chain);
  /// add rule inet TABLE CHAIN …
  void add_rule(const std::string& table, const std::string& chain,
                const NftExpressions& expressions);

  /// Sends the batch by a NETLINK_NETFILTER socket and reads one acknowledgement for each message;
  /// the first refusal is the outcome.
  [[nodiscard]] Status commit(nl_sock* socket);

 private:
  void message(std::uint16_t type, std::uint16_t flags, const std::vector<std::uint8_t>& attributes,
               std::string words);
  std::vector<std::uint8_t> packet_;
  std::vector<std::string> words_;  // of the message with sequence number i
};

}  // namespace cordon
