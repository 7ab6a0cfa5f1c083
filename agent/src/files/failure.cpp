#include "files/failure.hpp"

#include "http/exchange.hpp"

#include <hf/sandbox/detail/utf8.hpp>

#include <sys/stat.h>

#include <cerrno>
#include <string>
#include <system_error>

namespace hf::agent {
namespace {

struct meaning {
  int status;
  char const* code;
};

meaning meaning_of(int number) {
  switch (number) {
    case ENOENT:
      return {404, "not_found"};
    case EISDIR:
      return {409, "is_directory"};
    case ENOTDIR:
      return {400, "not_directory"};
    case ENOTEMPTY:
      return {400, "not_empty"};
    case EEXIST:
    case EBUSY:
    case ETXTBSY:
      return {400, "conflict"};
    case EACCES:
    case EPERM:
    case EROFS:
      return {400, "permission_denied"};
    case ENOSPC:
    case EDQUOT:
      return {400, "no_space"};
    case EFBIG:
      return {400, "too_large"};
    case EMFILE:
    case ENFILE:
    case ENOMEM:
    case ENOBUFS:
      return {503, "resource_exhausted"};
    case ENAMETOOLONG:
    case ELOOP:
    case EINVAL:
      return {400, "invalid_argument"};
    case ENXIO:
    case ENODEV:
    case ESPIPE:
      return {400, "not_regular"};
    default:
      return {400, "io_error"};
  }
}

}  // namespace

void throw_file_error(int number, std::string_view verb, std::string_view shown) {
  auto const path = hf::detail::utf8_lossy(shown);
  auto [status, code] = meaning_of(number);
  // Only reading makes a conflict of it in the common protocol.
  if (number == EISDIR && verb != "open")
    status = 400;
  std::string message;
  if (number == ENOENT) {
    message = "no such path: " + path;
  } else if (number == EISDIR && verb == "open") {
    message = "is a directory: " + path;
  } else {
    message = "cannot " + std::string(verb) + " " + path + ": " +
              std::generic_category().message(number) + " (os error " + std::to_string(number) +
              ")";
  }
  throw http_error{status, code, std::move(message), json{{"errno", number}}};
}

void throw_not_regular(std::string_view verb, std::string_view shown, unsigned mode) {
  char const* const kind = S_ISFIFO(mode)   ? "FIFO"
                           : S_ISSOCK(mode) ? "socket"
                           : S_ISCHR(mode)  ? "character device"
                           : S_ISBLK(mode)  ? "block device"
                                            : "other";
  throw http_error{
      400, "not_regular",
      "cannot " + std::string(verb) + " " + hf::detail::utf8_lossy(shown) + ": not a regular file",
      json{{"kind", kind}}};
}

}  // namespace hf::agent
