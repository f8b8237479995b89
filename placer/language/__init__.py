"""Language models as a configuration or a file's header describes them: dimensions, weights, caches.

No devices, no weights' values and no framework: readers (`configuration`, `gguf`) make a
`placer.language.language_model.LanguageModel`; what plans it stands elsewhere.
"""
