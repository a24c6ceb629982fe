// JSON Schema as a grammar: what is generated under it is JSON that the schema accepts.
#pragma once

#include <string>
#include <string_view>

namespace shoehorn {

/// The GBNF text (gbnf.h) of a schema. Known are type (one or a list), enum, const, properties,
/// required, additionalProperties, items, prefixItems, minItems, maxItems, minLength, maxLength,
/// format (date, time, date-time, uuid), anyOf, oneOf (read as anyOf), $ref into the same schema,
/// and annotations, which say nothing of the value. Properties come in the order of the schema;
/// those that it does not name come only where additionalProperties allows them, after the others;
/// there is at most a line break and its indentation between tokens, and numbers have at most 16
/// digits before and after the point. {} is any JSON.
///
/// Throws FormatError for what is no JSON or no schema, UnsupportedError naming a keyword that
/// would narrow the value and is not known (pattern, minimum, allOf, ...).
std::string json_schema_gbnf(std::string_view schema);

}  // namespace shoehorn
