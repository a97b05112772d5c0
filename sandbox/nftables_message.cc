#include "sandbox/nftables_message.h"

#include <arpa/inet.h>
#include <array>
#include <cerrno>
#include <cstring>
#include <linux/netfilter.h>
#include <linux/netfilter/nf_tables.h>
#include <linux/netfilter/nfnetlink.h>
#include <linux/netlink.h>
#include <sys/socket.h>

#include "sandbox/netlink_handles.h"

namespace cordon {
namespace {

using Octets = std::vector<std::uint8_t>;

// One acknowledgement is a header, an errno and the request's header; with the request quoted it is
// the length of our longest message, which is far below this.
static_assert(kNftHookOutput == NF_INET_LOCAL_OUT);

constexpr std::size_t kReplyRoom = 16384;

// netlink(7): attributes stand on multiples of four.
void pad(Octets& out) { out.resize((out.size() + 3) / 4 * 4); }

template <class Header>
void put_header(Octets& out, const Header& header) {
  const auto* const first = static_cast<const std::uint8_t*>(static_cast<const void*>(&header));
  out.insert(out.end(), first, first + sizeof(header));
}

void put(Octets& out, std::uint16_t type, Bytes value) {
  put_header(out, nlattr{.nla_len = static_cast<std::uint16_t>(sizeof(nlattr) + value.size()),
                         .nla_type = type});
  out.insert(out.end(), value.begin(), value.end());
  pad(out);
}

void put_text(Octets& out, std::uint16_t type, std::string_view text) {
  Octets value(text.begin(), text.end());
  value.push_back(0);
  put(out, type, value);
}

// nf_tables counts in network order, whatever netlink does elsewhere.
void put_number(Octets& out, std::uint16_t type, std::uint32_t value) {
  put(out, type,
      std::array{static_cast<std::uint8_t>(value >> 24), static_cast<std::uint8_t>(value >> 16),
                 static_cast<std::uint8_t>(value >> 8), static_cast<std::uint8_t>(value)});
}

void put_nested(Octets& out, std::uint16_t type, const Octets& inner) {
  put(out, static_cast<std::uint16_t>(type | NLA_F_NESTED), inner);
}

// NFTA_DATA_VALUE inside a nest of `type`: how an immediate stands in an expression.
void put_data(Octets& out, std::uint16_t type, Bytes value) {
  Octets data;
  put(data, NFTA_DATA_VALUE, value);
  put_nested(out, type, data);
}

constexpr std::uint16_t table_message(std::uint16_t type) {
  return static_cast<std::uint16_t>((NFNL_SUBSYS_NFTABLES << 8) | type);
}

nlmsghdr header_of(std::size_t payload, std::uint16_t type, std::uint16_t flags,
                   std::uint32_t sequence) {
  return {.nlmsg_len = static_cast<std::uint32_t>(NLMSG_HDRLEN + payload),
          .nlmsg_type = type,
          .nlmsg_flags = static_cast<std::uint16_t>(NLM_F_REQUEST | flags),
          .nlmsg_seq = sequence,
          .nlmsg_pid = 0};
}

void put_border(Octets& packet, std::uint16_t type, std::uint32_t sequence) {
  put_header(packet, header_of(sizeof(nfgenmsg), type, 0, sequence));
  put_header(packet, nfgenmsg{.nfgen_family = AF_UNSPEC,
                              .version = NFNETLINK_V0,
                              .res_id = htons(NFNL_SUBSYS_NFTABLES)});
}

}  // namespace

void NftExpressions::append(std::string_view name, const Octets& data) {
  Octets element;
  put_text(element, NFTA_EXPR_NAME, name);
  put_nested(element, NFTA_EXPR_DATA, data);
  put_nested(list_, NFTA_LIST_ELEM, element);
}

void NftExpressions::meta_load(std::uint32_t key) {
  Octets data;
  put_number(data, NFTA_META_KEY, key);
  put_number(data, NFTA_META_DREG, NFT_REG_1);
  append("meta", data);
}

void NftExpressions::load_output_interface() { meta_load(NFT_META_OIFNAME); }

void NftExpressions::load_protocol() { meta_load(NFT_META_L4PROTO); }

void NftExpressions::load_mark() { meta_load(NFT_META_MARK); }

void NftExpressions::load_transport(std::uint32_t offset, std::uint32_t length) {
  Octets data;
  put_number(data, NFTA_PAYLOAD_DREG, NFT_REG_1);
  put_number(data, NFTA_PAYLOAD_BASE, NFT_PAYLOAD_TRANSPORT_HEADER);
  put_number(data, NFTA_PAYLOAD_OFFSET, offset);
  put_number(data, NFTA_PAYLOAD_LEN, length);
  append("payload", data);
}

void NftExpressions::bitwise(Bytes mask, Bytes flips) {
  Octets data;
  put_number(data, NFTA_BITWISE_SREG, NFT_REG_1);
  put_number(data, NFTA_BITWISE_DREG, NFT_REG_1);
  put_number(data, NFTA_BITWISE_LEN, static_cast<std::uint32_t>(mask.size()));
  put_data(data, NFTA_BITWISE_MASK, mask);
  put_data(data, NFTA_BITWISE_XOR, flips);
  append("bitwise", data);
}

void NftExpressions::compare(std::uint32_t operation, Bytes value) {
  Octets data;
  put_number(data, NFTA_CMP_SREG, NFT_REG_1);
  put_number(data, NFTA_CMP_OP, operation);
  put_data(data, NFTA_CMP_DATA, value);
  append("cmp", data);
}

void NftExpressions::expect_equal(Bytes value) { compare(NFT_CMP_EQ, value); }

void NftExpressions::expect_other(Bytes value) { compare(NFT_CMP_NEQ, value); }

void NftExpressions::set_mark() {
  Octets data;
  put_number(data, NFTA_META_KEY, NFT_META_MARK);
  put_number(data, NFTA_META_SREG, NFT_REG_1);
  append("meta", data);
}

NftBatch::NftBatch() {
  put_border(packet_, NFNL_MSG_BATCH_BEGIN, 0);
  words_.emplace_back("begin");
}

void NftBatch::message(std::uint16_t type, std::uint16_t flags, const Octets& attributes,
                       std::string words) {
  const auto sequence = static_cast<std::uint32_t>(words_.size());
  words_.push_back(std::move(words));
  put_header(packet_, header_of(sizeof(nfgenmsg) + attributes.size(), table_message(type),
                                static_cast<std::uint16_t>(flags | NLM_F_ACK), sequence));
  put_header(packet_, nfgenmsg{.nfgen_family = NFPROTO_INET, .version = NFNETLINK_V0, .res_id = 0});
  packet_.insert(packet_.end(), attributes.begin(), attributes.end());
}

void NftBatch::add_table(const std::string& name) {
  Octets attributes;
  put_text(attributes, NFTA_TABLE_NAME, name);
  message(NFT_MSG_NEWTABLE, NLM_F_CREATE, attributes, "add table inet " + name);
}

void NftBatch::delete_table(const std::string& name) {
  Octets attributes;
  put_text(attributes, NFTA_TABLE_NAME, name);
  message(NFT_MSG_DELTABLE, 0, attributes, "delete table inet " + name);
}

void NftBatch::add_chain(const NftBaseChain& chain) {
  Octets hook;
  put_number(hook, NFTA_HOOK_HOOKNUM, chain.hook);
  put_number(hook, NFTA_HOOK_PRIORITY, static_cast<std::uint32_t>(chain.priority));
  Octets attributes;
  put_text(attributes, NFTA_CHAIN_TABLE, chain.table);
  put_text(attributes, NFTA_CHAIN_NAME, chain.name);
  put_nested(attributes, NFTA_CHAIN_HOOK, hook);
  put_number(attributes, NFTA_CHAIN_POLICY, NF_ACCEPT);
  put_text(attributes, NFTA_CHAIN_TYPE, chain.type);
  message(NFT_MSG_NEWCHAIN, NLM_F_CREATE, attributes,
          "add chain inet " + chain.table + " " + chain.name);
}

void NftBatch::add_rule(const std::string& table, const std::string& chain,
                        const NftExpressions& expressions) {
  Octets attributes;
  put_text(attributes, NFTA_RULE_TABLE, table);
  put_text(attributes, NFTA_RULE_CHAIN, chain);
  put_nested(attributes, NFTA_RULE_EXPRESSIONS, expressions.bytes());
  message(NFT_MSG_NEWRULE, NLM_F_CREATE | NLM_F_APPEND, attributes,
          "add rule inet " + table + " " + chain);
}

Status NftBatch::commit(nl_sock* socket) {
  const auto expected = words_.size() - 1;
  put_border(packet_, NFNL_MSG_BATCH_END, static_cast<std::uint32_t>(words_.size()));
  const int fd = nl_socket_get_fd(socket);
  sockaddr_nl kernel{.nl_family = AF_NETLINK};
  const auto* const to = static_cast<const sockaddr*>(static_cast<const void*>(&kernel));
  if (::sendto(fd, packet_.data(), packet_.size(), 0, to, sizeof(kernel)) < 0) {
    return errno_error("nftables");
  }
  // The kernel has answered everything before sendto() returned, so nothing is waited for.
  std::vector<std::uint8_t> reply(kReplyRoom);
  for (std::size_t acknowledged = 0; acknowledged < expected;) {
    const ssize_t received = ::recv(fd, reply.data(), reply.size(), MSG_DONTWAIT);
    if (received < 0) return errno_error("nftables acknowledgement");
    Bytes rest = Bytes(reply).first(static_cast<std::size_t>(received));
    while (rest.size() >= NLMSG_HDRLEN + sizeof(nlmsgerr)) {
      nlmsghdr header{};
      std::memcpy(&header, rest.data(), sizeof(header));
      int error = 0;
      std::memcpy(&error, rest.data() + NLMSG_HDRLEN, sizeof(error));
      if (header.nlmsg_type != NLMSG_ERROR)
        return plain_error("nftables: an answer of another kind");
      if (error != 0) {
        const bool is_ours = header.nlmsg_seq < words_.size();
        return errno_error(-error, "nftables: " + (is_ours ? words_[header.nlmsg_seq] : "batch"));
      }
      ++acknowledged;
      if (NLMSG_ALIGN(header.nlmsg_len) >= rest.size()) break;
      rest = rest.subspan(NLMSG_ALIGN(header.nlmsg_len));
    }
  }
  return {};
}

}  // namespace cordon
