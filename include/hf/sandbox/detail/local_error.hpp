#ifndef HF_SANDBOX_DETAIL_LOCAL_ERROR_HPP
#define HF_SANDBOX_DETAIL_LOCAL_ERROR_HPP

#include <hf/sandbox/error.hpp>

#include <filesystem>
#include <string>
#include <string_view>
#include <system_error>

namespace hf::detail {

/// A path of this machine for an error's text: UTF-8 wherever the platform knows its encoding.
template <class = void>
[[nodiscard]] std::string shown_path(std::filesystem::path const& path) {
  auto const text = path.u8string();
  return {text.begin(), text.end()};
}

/// The error for a failed operation on a file of this machine.
template <class = void>
[[nodiscard]] error local_file_error(std::string_view doing, std::filesystem::path const& path,
                                     std::error_code why) {
  errc code = errc::io_error;
  if (why == std::errc::no_such_file_or_directory)
    code = errc::not_found;
  else if (why == std::errc::permission_denied || why == std::errc::operation_not_permitted ||
           why == std::errc::read_only_file_system)
    code = errc::permission_denied;
  else if (why == std::errc::is_a_directory)
    code = errc::is_directory;
  else if (why == std::errc::not_a_directory)
    code = errc::not_directory;
  else if (why == std::errc::no_space_on_device)
    code = errc::no_space;
  else if (why == std::errc::file_too_large)
    code = errc::too_large;
  else if (why == std::errc::too_many_files_open || why == std::errc::too_many_files_open_in_system)
    code = errc::resource_exhausted;
  return error(code,
               std::string(doing) + " '" + shown_path(path) + "' on this machine: " +
                   (why ? why.message() : std::string("input/output error")),
               {.where = hop::client, .system_error = why.value()});
}

}  // namespace hf::detail

#endif
