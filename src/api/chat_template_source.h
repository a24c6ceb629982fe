// The chat templates of a checkpoint that is open, for the files of this folder.
#pragma once

#include <string>

#include "shoehorn/chat_template.h"

#include "checkpoint/chat_template_files.h"
#include "checkpoint/checkpoint.h"

namespace shoehorn {

/// Throws FileError, FormatError.
ChatTemplateFiles chat_template_files(const Checkpoint& checkpoint);

/// Compiles them; `model` names it in the UnsupportedError of one that has none. Throws
/// TemplateError.
ChatTemplate make_chat_template(const ChatTemplateFiles& files, const std::string& model);

}  // namespace shoehorn
