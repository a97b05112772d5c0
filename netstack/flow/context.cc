#include "netstack/flow/context.h"

#include <cerrno>

namespace cordon {

std::optional<IcmpError> icmp_for_errno(int error) {
  switch (error) {
    case ENETUNREACH:
    case ENETDOWN:
    case EAFNOSUPPORT:
      return IcmpError::kNetUnreachable;
    case EHOSTUNREACH:
    case EHOSTDOWN:
    case ENODEV:
      return IcmpError::kHostUnreachable;
    case ECONNREFUSED:
      return IcmpError::kPortUnreachable;
    case EACCES:
    case EPERM:
      return IcmpError::kProhibited;
    case EMSGSIZE:
      return IcmpError::kTooBig;
    case ENOPROTOOPT:
    case EPROTO:
      return IcmpError::kProtocolUnreachable;
    default:
      return std::nullopt;
  }
}

bool is_out_of_resources(int error) {
  return error == EADDRNOTAVAIL || error == EMFILE || error == ENFILE || error == ENOBUFS ||
         error == ENOMEM || error == EAGAIN;
}

}  // namespace cordon
