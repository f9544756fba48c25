"""The base trainer of vision-language methods, and mixins that several methods share."""
